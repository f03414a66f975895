//! Commands: the first byte of a client's packet, and what kind of reply it gets.
//! Source: MySQL protocol documentation, "Command Phase"; Dolt's `handleNextCommand`.

use super::reply::Expect;

/// A command that Dolt knows, or another byte that it will refuse with 1047.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Quit,
    InitDb,
    Query,
    FieldList,
    Ping,
    ChangeUser,
    RegisterReplica,
    StmtPrepare,
    StmtExecute,
    StmtSendLongData,
    StmtClose,
    StmtReset,
    SetOption,
    StmtFetch,
    BinlogDumpGtid,
    ResetConnection,
    Unknown(u8),
}

impl Command {
    /// From the first byte of a packet.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb,
            0x03 => Self::Query,
            0x04 => Self::FieldList,
            0x0e => Self::Ping,
            0x11 => Self::ChangeUser,
            0x15 => Self::RegisterReplica,
            0x16 => Self::StmtPrepare,
            0x17 => Self::StmtExecute,
            0x18 => Self::StmtSendLongData,
            0x19 => Self::StmtClose,
            0x1a => Self::StmtReset,
            0x1b => Self::SetOption,
            0x1c => Self::StmtFetch,
            0x1e => Self::BinlogDumpGtid,
            0x1f => Self::ResetConnection,
            other => Self::Unknown(other),
        }
    }

    /// The byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Quit => 0x01,
            Self::InitDb => 0x02,
            Self::Query => 0x03,
            Self::FieldList => 0x04,
            Self::Ping => 0x0e,
            Self::ChangeUser => 0x11,
            Self::RegisterReplica => 0x15,
            Self::StmtPrepare => 0x16,
            Self::StmtExecute => 0x17,
            Self::StmtSendLongData => 0x18,
            Self::StmtClose => 0x19,
            Self::StmtReset => 0x1a,
            Self::SetOption => 0x1b,
            Self::StmtFetch => 0x1c,
            Self::BinlogDumpGtid => 0x1e,
            Self::ResetConnection => 0x1f,
            Self::Unknown(byte) => byte,
        }
    }

    /// The name in logs and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quit => "COM_QUIT",
            Self::InitDb => "COM_INIT_DB",
            Self::Query => "COM_QUERY",
            Self::FieldList => "COM_FIELD_LIST",
            Self::Ping => "COM_PING",
            Self::ChangeUser => "COM_CHANGE_USER",
            Self::RegisterReplica => "COM_REGISTER_REPLICA",
            Self::StmtPrepare => "COM_STMT_PREPARE",
            Self::StmtExecute => "COM_STMT_EXECUTE",
            Self::StmtSendLongData => "COM_STMT_SEND_LONG_DATA",
            Self::StmtClose => "COM_STMT_CLOSE",
            Self::StmtReset => "COM_STMT_RESET",
            Self::SetOption => "COM_SET_OPTION",
            Self::StmtFetch => "COM_STMT_FETCH",
            Self::BinlogDumpGtid => "COM_BINLOG_DUMP_GTID",
            Self::ResetConnection => "COM_RESET_CONNECTION",
            Self::Unknown(_) => "unknown command",
        }
    }

    /// What Dolt will answer; `None` if nothing.
    pub fn expects(self) -> Option<Expect> {
        match self {
            Self::Quit | Self::StmtSendLongData | Self::StmtClose => None,
            Self::Query => Some(Expect::Results),
            Self::StmtExecute => Some(Expect::Results),
            Self::StmtPrepare => Some(Expect::Prepare),
            Self::StmtFetch => Some(Expect::Rows),
            Self::FieldList => Some(Expect::FieldList),
            Self::BinlogDumpGtid => Some(Expect::Endless),
            // COM_CHANGE_USER and what Dolt does not know get one ERR.
            Self::InitDb
            | Self::Ping
            | Self::SetOption
            | Self::StmtReset
            // Dolt follows the ERR of a failed reset with an OK: the session drops such a backend.
            | Self::ResetConnection
            | Self::RegisterReplica
            | Self::ChangeUser
            | Self::Unknown(_) => Some(Expect::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        for byte in 0..=255 {
            assert_eq!(Command::from_byte(byte).byte(), byte);
        }
    }
}
