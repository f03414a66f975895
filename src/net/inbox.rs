//! A read buffer: 16 KiB that grows to 256 KiB while reads fill it, and is given back when idle.

use std::io;

use tokio::io::AsyncReadExt;

use super::Stream;

const ROOM_BYTES_MIN: usize = 16 * 1024;
const ROOM_BYTES_MAX: usize = 256 * 1024;

/// Bytes that came and were not used yet.
#[derive(Debug, Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    used: usize,
    room: usize,
}

impl Inbox {
    /// Empty, without memory.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), used: 0, room: ROOM_BYTES_MIN }
    }

    /// What came and was not used yet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// The same, to patch ids in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.used..]
    }

    /// Nothing is there.
    pub fn is_empty(&self) -> bool {
        self.used == self.buffer.len()
    }

    /// The first `count` bytes were used.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.bytes().len());
        self.used = (self.used + count).min(self.buffer.len());
        if self.is_empty() {
            self.buffer.clear();
            self.used = 0;
        }
    }

    /// Gives the memory back if nothing is there: what an idle connection costs.
    pub fn release(&mut self) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = Vec::new();
            self.used = 0;
            self.room = ROOM_BYTES_MIN;
        }
    }

    /// Reads once, adding to what is there; the number of bytes, 0 when the peer has closed.
    /// Cancel-safe. Never holds more than 256 KiB beyond what it held before.
    pub async fn fill(&mut self, stream: &mut Stream) -> io::Result<usize> {
        if self.used > 0 && self.buffer.capacity() - self.buffer.len() < self.room {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.reserve(self.room);
        let spare = self.buffer.capacity() - self.buffer.len();
        let count = stream.read_buf(&mut self.buffer).await?;
        if count == spare {
            self.room = (self.room * 2).min(ROOM_BYTES_MAX);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn it_grows_while_filled_and_gives_back() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut stream = Stream::Unix(b);
        let total = 3_000_000;
        let writer = tokio::spawn(async move {
            let bytes: Vec<u8> = (0..total).map(|i| i as u8).collect();
            a.write_all(&bytes).await.unwrap();
        });
        let mut inbox = Inbox::new();
        let (mut seen, mut largest) = (0usize, 0);
        loop {
            if inbox.fill(&mut stream).await.unwrap() == 0 {
                break;
            }
            largest = largest.max(inbox.buffer.capacity());
            // Leave one byte each time, so that compaction is exercised.
            let take = inbox.bytes().len() - 1;
            assert!(inbox.bytes()[..take].iter().zip(seen..).all(|(byte, i)| *byte == i as u8));
            inbox.consume(take);
            seen += take;
        }
        assert_eq!(seen + inbox.bytes().len(), total as usize);
        assert!(largest <= 2 * ROOM_BYTES_MAX + ROOM_BYTES_MIN, "{largest}");
        inbox.consume(1);
        inbox.release();
        assert_eq!(inbox.buffer.capacity(), 0);
        writer.await.unwrap();
    }
}
