//! Where a reply ends. The tracker is fed Dolt's bytes as they are relayed, in pieces of any size,
//! and tells when the reply to a command is complete.
//!
//! Owns: the order of packets in every kind of reply. Does not: keep payloads, beyond the first bytes of
//! the packets that decide. Always: the same events for the same bytes, wherever they are cut.

use super::BadFrame;
use super::frame::{HEADER_BYTES, Header};
use super::lenenc;
use super::response::{self, ErrInfo, OkInfo};

/// Bytes of a deciding packet that are kept. OK needs 23, ERR its text.
const KEPT_BYTES_MAX: usize = 1024;

/// Which kind of reply a command gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// OK, ERR, LOCAL INFILE or a result set, each possibly followed by more results.
    Results,
    /// Prepared statement: its id, then parameter and column blocks.
    Prepare,
    /// Rows of an open cursor, up to EOF.
    Rows,
    /// Column definitions up to EOF.
    FieldList,
    /// One OK, ERR or EOF.
    One,
    /// One OK; or, as Dolt does when a reset fails, ERR and then OK.
    Reset,
    /// Goes on until a side hangs up (binlog).
    Endless,
}

/// Where the relay stands after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The reply goes on.
    More,
    /// Dolt asks for the client's file: what the client sends up to an empty packet belongs to Dolt; then
    /// the reply goes on. The next sequence number is the client's.
    LocalInfile,
    /// The reply is complete.
    Done,
}

/// How a reply, or one of its results, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// OK or EOF.
    Ok(OkInfo),
    /// ERR.
    Err(ErrInfo),
}

/// The header of a prepared statement's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareInfo {
    /// Dolt's statement id.
    pub id: u32,
    /// Columns of its result.
    pub columns: u16,
    /// Parameters.
    pub params: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// First packet of a result.
    First,
    /// This many column definitions are still to come.
    Columns(u64),
    /// EOF after the column definitions.
    ColumnsEof,
    /// Rows, up to EOF or ERR.
    Rows,
    /// Header of a prepared statement.
    PrepareHeader,
    /// This many parameter definitions, then the EOF, then this many columns.
    PrepareParams(u16, u16),
    /// EOF after the parameters; this many columns follow.
    PrepareParamsEof(u16),
    /// This many column definitions.
    PrepareColumns(u16),
    PrepareColumnsEof,
    FieldList,
    One,
    /// After the ERR of a failed reset.
    ResetOk,
    Endless,
    /// Waits for the client's file; the server's answer comes as `One` with more results possible.
    Infile,
    Done,
}

/// Follows one reply. See the module's description.
#[derive(Debug, Clone)]
pub struct ReplyTracker {
    phase: Phase,
    deprecate_eof: bool,
    reset: bool,
    /// What its first packet must be numbered: on from the command's last frame; any number when resumed.
    first_seq: Option<u8>,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Payload bytes of the current frame still to come.
    left: usize,
    /// The current frame continues a packet, or is continued.
    continuation: bool,
    continues: bool,
    kept: Vec<u8>,
    keeping: bool,
    seq: u8,
    packets: u64,
    results: u32,
    outcome: Option<Outcome>,
    had_err: bool,
    warnings: bool,
    prepared: Option<PrepareInfo>,
}

impl ReplyTracker {
    /// A reply of which nothing came yet. `deprecate_eof`: whether the backend's connection uses it.
    pub fn new(expect: Expect, deprecate_eof: bool) -> Self {
        Self {
            phase: match expect {
                Expect::Results => Phase::First,
                Expect::Prepare => Phase::PrepareHeader,
                Expect::Rows => Phase::Rows,
                Expect::FieldList => Phase::FieldList,
                Expect::One | Expect::Reset => Phase::One,
                Expect::Endless => Phase::Endless,
            },
            deprecate_eof,
            reset: expect == Expect::Reset,
            first_seq: Some(1),
            header: [0; HEADER_BYTES],
            header_len: 0,
            left: 0,
            continuation: false,
            continues: false,
            kept: Vec::new(),
            keeping: false,
            seq: 0,
            packets: 0,
            results: 0,
            outcome: None,
            had_err: false,
            warnings: false,
            prepared: None,
        }
    }

    /// The next result of a reply of which earlier results came: its packets are numbered on from there.
    pub fn resumed(expect: Expect, deprecate_eof: bool) -> Self {
        Self { first_seq: None, ..Self::new(expect, deprecate_eof) }
    }

    /// The command took several frames: its reply is numbered on from the last one.
    pub fn begins_with(&mut self, seq: u8) {
        debug_assert!(!self.has_begun());
        self.first_seq = Some(seq);
    }

    /// Whether the last byte fed ended a packet, so that an ERR of ours may follow.
    pub fn at_packet_boundary(&self) -> bool {
        self.header_len == 0 && self.left == 0 && !self.continues
    }

    /// Whether anything came.
    pub fn has_begun(&self) -> bool {
        self.packets > 0 || self.header_len > 0
    }

    /// Sequence number of the next packet from Dolt.
    pub fn next_seq(&self) -> u8 {
        if self.has_begun() { self.seq.wrapping_add(1) } else { self.first_seq.unwrap_or(1) }
    }

    /// How the last complete result ended.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether any result ended in ERR.
    pub fn had_err(&self) -> bool {
        self.had_err
    }

    /// Whether any result counted warnings.
    pub fn had_warnings(&self) -> bool {
        self.warnings
    }

    /// Complete results so far.
    pub fn results(&self) -> u32 {
        self.results
    }

    /// The prepared statement, once its header came.
    pub fn prepared(&self) -> Option<PrepareInfo> {
        self.prepared
    }

    /// After the client's file, whose last packet had the number before `next_seq`: Dolt's answer is due.
    pub fn infile_sent(&mut self, next_seq: u8) {
        debug_assert_eq!(self.phase, Phase::Infile);
        self.seq = next_seq.wrapping_sub(1);
        self.phase = Phase::First;
    }

    /// Whether the reply has no end of its own.
    pub fn is_endless(&self) -> bool {
        self.phase == Phase::Endless
    }

    /// Whether the reply is complete.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Takes what belongs to this reply from the front of `bytes`: how much that is, and where it stands.
    /// Less than all is taken only with `Done` or `LocalInfile`.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Progress), BadFrame> {
        let mut at = 0;
        while self.phase != Phase::Done && self.phase != Phase::Infile {
            if self.left > 0 {
                at += self.take_payload(&bytes[at..]);
                if self.left > 0 {
                    return Ok((at, Progress::More));
                }
                self.end_of_frame()?;
                continue;
            }
            at += self.skip_rows(&bytes[at..]);
            let Some(header) = self.take_header(&bytes[at..], &mut at) else {
                return Ok((at, Progress::More));
            };
            self.start_frame(header)?;
            if self.left == 0 {
                self.end_of_frame()?;
            }
        }
        let progress = if self.phase == Phase::Done { Progress::Done } else { Progress::LocalInfile };
        Ok((at, progress))
    }

    /// Whole rows go by without further ado: this loop is what a large result costs.
    fn skip_rows(&mut self, bytes: &[u8]) -> usize {
        if self.phase != Phase::Rows || self.header_len > 0 || self.continues || self.packets == 0 {
            return 0;
        }
        let mut at = 0;
        while let Some(&[a, b, c, seq, first]) = bytes[at..].first_chunk::<5>() {
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            let end = at + HEADER_BYTES + len;
            // Long frames, EOF and ERR take the careful way.
            if first >= response::EOF
                || len == super::frame::PAYLOAD_BYTES_MAX
                || len == 0
                || end > bytes.len()
            {
                break;
            }
            self.seq = seq;
            self.packets += 1;
            at = end;
        }
        at
    }

    fn take_header(&mut self, bytes: &[u8], at: &mut usize) -> Option<Header> {
        let now = (HEADER_BYTES - self.header_len).min(bytes.len());
        self.header[self.header_len..self.header_len + now].copy_from_slice(&bytes[..now]);
        self.header_len += now;
        *at += now;
        if self.header_len < HEADER_BYTES {
            return None;
        }
        self.header_len = 0;
        Header::read(&self.header)
    }

    fn start_frame(&mut self, header: Header) -> Result<(), BadFrame> {
        // A reply is numbered on from its command. Anything else is the rest of an earlier one.
        if self.packets == 0
            && let Some(want) = self.first_seq
            && header.seq != want
        {
            return Err(BadFrame::SequenceGap { want, got: header.seq });
        }
        self.seq = header.seq;
        self.packets += 1;
        self.left = header.len;
        self.continuation = self.continues;
        self.continues = header.continues();
        if !self.continuation {
            self.kept.clear();
            self.keeping = true;
        }
        Ok(())
    }

    fn take_payload(&mut self, bytes: &[u8]) -> usize {
        let now = self.left.min(bytes.len());
        if self.keeping && now > 0 {
            // A row is told from EOF and ERR by its first byte: nothing else of it is kept.
            if self.phase == Phase::Rows && self.kept.is_empty() && bytes[0] < response::EOF {
                self.keeping = false;
            } else {
                let room = KEPT_BYTES_MAX - self.kept.len().min(KEPT_BYTES_MAX);
                self.kept.extend_from_slice(&bytes[..now.min(room)]);
                self.keeping = room > now;
            }
        }
        self.left -= now;
        now
    }

    fn end_of_frame(&mut self) -> Result<(), BadFrame> {
        if self.continues {
            return Ok(());
        }
        let spans_frames = self.continuation;
        self.continuation = false;
        let kept = std::mem::take(&mut self.kept);
        let next = self.next_phase(&kept, spans_frames);
        self.kept = kept;
        self.phase = next?;
        Ok(())
    }

    fn next_phase(&mut self, packet: &[u8], spans_frames: bool) -> Result<Phase, BadFrame> {
        let first = packet.first().copied();
        Ok(match self.phase {
            Phase::First => match first.ok_or(BadFrame::Empty { what: "reply" })? {
                response::OK => self.end_of_result(read_ok(packet)?),
                response::ERR => self.error(packet)?,
                response::LOCAL_INFILE => Phase::Infile,
                // Some servers answer a statement without a result with an EOF-headed OK.
                response::EOF if packet.len() < 9 => self.end_of_result(self.read_end(packet)?),
                _ => {
                    let (columns, _) =
                        lenenc::read_int(packet).ok_or(BadFrame::Malformed { what: "column count" })?;
                    if columns == 0 { self.after_columns() } else { Phase::Columns(columns) }
                }
            },
            Phase::Columns(left) => {
                if first == Some(response::ERR) {
                    self.error(packet)?
                } else if left > 1 {
                    Phase::Columns(left - 1)
                } else {
                    self.after_columns()
                }
            }
            Phase::ColumnsEof => {
                let info = self.read_end(packet)?;
                // With a cursor, rows come by COM_STMT_FETCH.
                if info.status & response::STATUS_CURSOR_EXISTS != 0 {
                    self.end_of_result(info)
                } else {
                    Phase::Rows
                }
            }
            Phase::Rows => match first {
                Some(response::ERR) if !spans_frames => self.error(packet)?,
                Some(response::EOF) if !spans_frames && (self.deprecate_eof || packet.len() < 9) => {
                    self.end_of_result(self.read_end(packet)?)
                }
                _ => Phase::Rows,
            },
            Phase::PrepareHeader => match first {
                Some(response::OK) => {
                    let header =
                        packet.first_chunk::<9>().ok_or(BadFrame::Malformed { what: "prepare reply" })?;
                    let info = PrepareInfo {
                        id: u32::from_le_bytes([header[1], header[2], header[3], header[4]]),
                        columns: u16::from_le_bytes([header[5], header[6]]),
                        params: u16::from_le_bytes([header[7], header[8]]),
                    };
                    self.prepared = Some(info);
                    self.outcome = Some(Outcome::Ok(OkInfo::default()));
                    self.results = 1;
                    match (info.params, info.columns) {
                        (0, columns) => self.prepare_columns(columns),
                        (params, columns) => Phase::PrepareParams(params, columns),
                    }
                }
                Some(response::ERR) => self.error(packet)?,
                _ => return Err(BadFrame::Malformed { what: "prepare reply" }),
            },
            Phase::PrepareParams(left, columns) if left > 1 => Phase::PrepareParams(left - 1, columns),
            Phase::PrepareParams(_, columns) if self.deprecate_eof => self.prepare_columns(columns),
            Phase::PrepareParams(_, columns) => Phase::PrepareParamsEof(columns),
            Phase::PrepareParamsEof(columns) => self.prepare_columns(columns),
            Phase::PrepareColumns(left) if left > 1 => Phase::PrepareColumns(left - 1),
            Phase::PrepareColumns(_) if self.deprecate_eof => Phase::Done,
            Phase::PrepareColumns(_) => Phase::PrepareColumnsEof,
            Phase::PrepareColumnsEof => Phase::Done,
            // A column definition begins with the length of "def", never with EOF or ERR.
            Phase::FieldList => match first {
                Some(response::EOF) => self.end_of_result(self.read_end(packet)?),
                Some(response::ERR) => self.error(packet)?,
                _ => Phase::FieldList,
            },
            Phase::One => match first {
                Some(response::ERR) => {
                    let after = self.error(packet)?;
                    if self.reset { Phase::ResetOk } else { after }
                }
                Some(response::OK) => self.end_of_result(read_ok(packet)?),
                Some(response::EOF) => self.end_of_result(self.read_end(packet)?),
                _ => return Err(BadFrame::Malformed { what: "reply: neither OK, ERR nor EOF" }),
            },
            Phase::ResetOk => Phase::Done,
            phase @ (Phase::Endless | Phase::Infile | Phase::Done) => phase,
        })
    }

    fn after_columns(&self) -> Phase {
        if self.deprecate_eof { Phase::Rows } else { Phase::ColumnsEof }
    }

    fn prepare_columns(&self, columns: u16) -> Phase {
        if columns == 0 { Phase::Done } else { Phase::PrepareColumns(columns) }
    }

    /// EOF, or the OK that stands in its place.
    fn read_end(&self, packet: &[u8]) -> Result<OkInfo, BadFrame> {
        let info = if packet.len() == 5 { OkInfo::read_eof(packet) } else { OkInfo::read_ok(packet) };
        info.ok_or(BadFrame::Malformed { what: "EOF" })
    }

    fn end_of_result(&mut self, info: OkInfo) -> Phase {
        self.results = self.results.saturating_add(1);
        self.warnings |= info.warnings > 0;
        self.outcome = Some(Outcome::Ok(info));
        if info.status & response::STATUS_MORE_RESULTS != 0 { Phase::First } else { Phase::Done }
    }

    fn error(&mut self, packet: &[u8]) -> Result<Phase, BadFrame> {
        let err = ErrInfo::read(packet).ok_or(BadFrame::Malformed { what: "ERR" })?;
        self.results = self.results.saturating_add(1);
        self.had_err = true;
        self.outcome = Some(Outcome::Err(err));
        Ok(Phase::Done)
    }
}

fn read_ok(packet: &[u8]) -> Result<OkInfo, BadFrame> {
    OkInfo::read_ok(packet).ok_or(BadFrame::Malformed { what: "OK" })
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
