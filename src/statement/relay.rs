//! Moves one command to Dolt and its reply to the client, in pieces as they come.
//! Owns backpressure: a side that does not read stops the other one, and no packet is ever held whole.
//! Does not decide what is sent. Always: returns with both sides at the end of the reply, or says which
//! side is no longer usable.

use std::time::Duration;

use tokio::io::Interest;

use crate::net::Stream;
use crate::pool::{Backend, BackendError};
use crate::session::{ClientSocket, Ending, Incoming};
use crate::statement::transaction::AnswerHash;
use crate::wire::BadFrame;
use crate::wire::command::Command;
use crate::wire::frame::{HEADER_BYTES, Header, PacketTail};
use crate::wire::reply::{Progress, ReplyTracker};
use crate::wire::response::{self, ErrInfo};

/// A statement may end by itself for this long after its client vanished; then it is killed.
const VANISHED_GRACE: Duration = Duration::from_secs(1);

/// A client that has not taken what it was sent for this long does not count as busy.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// Error texts are short; a longer one is relayed as it comes.
const PEEKED_BYTES_MAX: usize = 16 * 1024;

/// A reply up to this length is held until it is whole.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// Why a relay stopped in the middle.
#[derive(Debug)]
pub enum Stopped {
    /// The client's side. What Dolt is doing goes on: kill it.
    Client(Ending),
    /// Dolt's side. The client is still there.
    Dolt(BackendError),
}

impl From<BackendError> for Stopped {
    fn from(error: BackendError) -> Self {
        Self::Dolt(error)
    }
}

/// Sends `prefix`, then the command, which is at the front of the client's inbox.
///
/// On `Stopped::Dolt` the command has been taken out of the client's stream all the same. `tracker` is told where
/// the reply's numbers begin; a command without a reply has none.
pub async fn send_command(
    client: &mut ClientSocket,
    backend: &mut Backend,
    incoming: &Incoming,
    prefix: &[u8],
    tracker: Option<&mut ReplyTracker>,
) -> Result<(), Stopped> {
    let span = incoming.span();
    let sent = if prefix.is_empty() {
        backend.stream.send(&client.inbox.bytes()[..span]).await
    } else {
        let mut out = prefix.to_vec();
        out.extend_from_slice(&client.inbox.bytes()[..span]);
        backend.stream.send(&out).await
    };
    client.inbox.consume(span);
    let mut tail = incoming.tail();
    let sent = match sent {
        Ok(()) => send_tail(client, &mut backend.stream, &mut tail).await,
        Err(error) => {
            client.skip_tail(&mut tail).await.map_err(Stopped::Client)?;
            Err(Stopped::Dolt(error.into()))
        }
    };
    if let Some(tracker) = tracker {
        tracker.begins_with(tail.next_seq());
    }
    sent
}

/// Sends what is left of a packet. Unless the client's side stops, `tail` is done in the end.
async fn send_tail(client: &mut ClientSocket, to: &mut Stream, tail: &mut PacketTail) -> Result<(), Stopped> {
    while !tail.is_done() {
        if client.inbox.is_empty() {
            client.fill().await.map_err(Stopped::Client)?;
        }
        let taken = tail.feed(client.inbox.bytes()).map_err(|bad| Stopped::Client(bad.into()))?;
        let sent = to.send(&client.inbox.bytes()[..taken]).await;
        client.inbox.consume(taken);
        if let Err(error) = sent {
            client.skip_tail(tail).await.map_err(Stopped::Client)?;
            return Err(Stopped::Dolt(error.into()));
        }
    }
    Ok(())
}

/// Reads the first packet of a reply, if it is an ERR that is short enough: it stays in the backend's inbox, so
/// that nothing of it has reached the client yet. `None` if the reply begins otherwise.
pub async fn peek_err(client: &mut ClientSocket, backend: &mut Backend) -> Result<Option<ErrInfo>, Stopped> {
    loop {
        let bytes = backend.inbox.bytes();
        if let (Some(header), Some(first)) = (Header::read(bytes), bytes.get(HEADER_BYTES)) {
            if *first != response::ERR || header.len > PEEKED_BYTES_MAX {
                return Ok(None);
            }
            if let Some(payload) = bytes.get(HEADER_BYTES..HEADER_BYTES + header.len) {
                return Ok(ErrInfo::read(payload));
            }
        }
        wait_for_dolt(client, backend).await?;
    }
}

/// Takes the ERR that [`peek_err`] has seen out of the backend's inbox.
pub fn drop_peeked(backend: &mut Backend) {
    if let Some(header) = Header::read(backend.inbox.bytes()) {
        backend.inbox.consume(HEADER_BYTES + header.len);
    }
}

/// Returns when the client has closed its side, or has said that it quits, while it waits for something of ours.
pub async fn client_gone(client: &mut ClientSocket) -> Ending {
    match watch_client(client).await {
        Err(Stopped::Client(ending)) => ending,
        _ => Ending::ClientVanished,
    }
}

/// Relays the reply up to its end. With `statement_id`, that id of ours is put in the place of Dolt's
/// in the reply to COM_STMT_PREPARE. `stalled` is called when the client doesn't read for long.
pub async fn relay_reply(
    client: &mut ClientSocket,
    backend: &mut Backend,
    tracker: &mut ReplyTracker,
    statement_id: Option<u32>,
    mut hash: Option<&mut AnswerHash>,
    stalled: &mut impl FnMut(),
) -> Result<(), Stopped> {
    hold_small(client, backend, tracker).await?;
    let mut to_patch = statement_id;
    loop {
        if backend.inbox.is_empty() || (to_patch.is_some() && backend.inbox.bytes().len() < PREPARE_ID_END) {
            wait_for_dolt(client, backend).await?;
            continue;
        }
        let patch = to_patch.take();
        let (taken, progress) = tracker.feed(backend.inbox.bytes()).map_err(BackendError::from)?;
        if let Some(id) = patch {
            let bytes = backend.inbox.bytes_mut();
            if bytes[HEADER_BYTES] == response::OK {
                bytes[PREPARE_ID_END - 4..PREPARE_ID_END].copy_from_slice(&id.to_le_bytes());
            }
        }
        if let Some(hash) = hash.as_mut() {
            hash.update(&backend.inbox.bytes()[..taken]);
        }
        let sent = send_or_stall(&mut client.stream, &backend.inbox.bytes()[..taken], stalled).await;
        backend.inbox.consume(taken);
        sent.map_err(|error| Stopped::Client(error.into()))?;
        match progress {
            Progress::Done => return Ok(()),
            Progress::More => {}
            Progress::LocalInfile => {
                let (next_seq, sent) = relay_file(client, backend, tracker.next_seq()).await?;
                tracker.infile_sent(next_seq);
                sent?;
            }
        }
    }
}

/// Waits until a reply is there to its end, or too long to be held: while nothing of it has reached the client, a
/// backend that is lost in the middle of it can be replaced unseen.
async fn hold_small(
    client: &mut ClientSocket,
    backend: &mut Backend,
    tracker: &ReplyTracker,
) -> Result<(), Stopped> {
    if tracker.is_endless() {
        return Ok(());
    }
    let (mut ahead, mut seen) = (tracker.clone(), 0);
    loop {
        let (taken, progress) = ahead.feed(&backend.inbox.bytes()[seen..]).map_err(BackendError::from)?;
        seen += taken;
        if progress != Progress::More || seen >= HELD_BYTES_MAX {
            return Ok(());
        }
        wait_for_dolt(client, backend).await?;
    }
}

/// Sends to the client; says so if it takes long.
async fn send_or_stall(stream: &mut Stream, bytes: &[u8], stalled: &mut impl FnMut()) -> std::io::Result<()> {
    let mut sending = std::pin::pin!(stream.send(bytes));
    match tokio::time::timeout(STALLED_AFTER, sending.as_mut()).await {
        Ok(sent) => sent,
        Err(_) => {
            stalled();
            sending.await
        }
    }
}

/// Where Dolt's statement id ends in the first packet of its reply, header included.
const PREPARE_ID_END: usize = HEADER_BYTES + 5;

/// Reads from Dolt; meanwhile notices a client that goes away, whose statement nobody waits for.
async fn wait_for_dolt(client: &mut ClientSocket, backend: &mut Backend) -> Result<(), Stopped> {
    let filled = tokio::select! {
        biased;
        filled = backend.fill() => return Ok(filled?),
        vanished = watch_client(client) => vanished,
    };
    filled?;
    match tokio::time::timeout(VANISHED_GRACE, backend.fill()).await {
        Ok(filled) => Ok(filled?),
        Err(_) => Err(Stopped::Client(Ending::ClientVanished)),
    }
}

/// Returns when the client has closed its side with nothing left to be served, or has said that it quits. What else
/// it sends meanwhile is pipelined commands: read ahead once, so that a hang-up behind them is not seen, and left alone.
async fn watch_client(client: &mut ClientSocket) -> Result<(), Stopped> {
    if !client.inbox.is_empty() {
        return if quits(client) { Ok(()) } else { std::future::pending().await };
    }
    let closed = async {
        client.stream.ready(Interest::READABLE).await?;
        Ok::<bool, std::io::Error>(client.inbox.fill(&mut client.stream).await? == 0)
    };
    match closed.await {
        Ok(true) | Err(_) => Ok(()),
        Ok(false) if quits(client) => Ok(()),
        Ok(false) => std::future::pending().await,
    }
}

/// Whether the next command is COM_QUIT: nobody waits for the answer to the one before.
fn quits(client: &ClientSocket) -> bool {
    matches!(client.incoming(), Ok(Some(Incoming { command: Command::Quit, .. })))
}

/// Sends the client's file: packets up to an empty one. It is read to its end even if Dolt is lost, as the
/// client will take no answer before. Returns the next sequence number.
async fn relay_file(
    client: &mut ClientSocket,
    backend: &mut Backend,
    mut seq: u8,
) -> Result<(u8, Result<(), BackendError>), Stopped> {
    let mut sent = Ok(());
    loop {
        let header = loop {
            if let Some(header) = Header::read(client.inbox.bytes()) {
                break header;
            }
            client.fill().await.map_err(Stopped::Client)?;
        };
        if header.seq != seq {
            return Err(Stopped::Client(BadFrame::SequenceGap { want: seq, got: header.seq }.into()));
        }
        let mut tail = PacketTail::expecting(seq);
        if sent.is_err() {
            client.skip_tail(&mut tail).await.map_err(Stopped::Client)?;
        } else {
            match send_tail(client, &mut backend.stream, &mut tail).await {
                Err(Stopped::Dolt(error)) => sent = Err(error),
                other => other?,
            }
        }
        seq = tail.next_seq();
        if header.len == 0 {
            return Ok((seq, sent));
        }
    }
}
