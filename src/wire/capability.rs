//! Capability flags, as bits of the two handshake packets.
//! Source: MySQL protocol documentation, "Capabilities Flags".

/// Improved old password; set by everyone.
pub const LONG_PASSWORD: u32 = 1;
/// OK counts found rows instead of changed rows.
pub const FOUND_ROWS: u32 = 1 << 1;
/// Longer flags in column definitions.
pub const LONG_FLAG: u32 = 1 << 2;
/// The handshake response names a database.
pub const CONNECT_WITH_DB: u32 = 1 << 3;
/// Compressed frames; Dolt does not offer it.
pub const COMPRESS: u32 = 1 << 5;
/// LOAD DATA LOCAL.
pub const LOCAL_FILES: u32 = 1 << 7;
/// The 4.1 protocol; nothing older is served.
pub const PROTOCOL_41: u32 = 1 << 9;
/// TLS.
pub const SSL: u32 = 1 << 11;
/// Status flags in OK and EOF.
pub const TRANSACTIONS: u32 = 1 << 13;
/// 4.1 authentication.
pub const SECURE_CONNECTION: u32 = 1 << 15;
/// Several statements in one COM_QUERY.
pub const MULTI_STATEMENTS: u32 = 1 << 16;
/// Several result sets in one reply.
pub const MULTI_RESULTS: u32 = 1 << 17;
/// Several result sets in one binary reply.
pub const PS_MULTI_RESULTS: u32 = 1 << 18;
/// Named authentication plugins.
pub const PLUGIN_AUTH: u32 = 1 << 19;
/// Connection attributes.
pub const CONNECT_ATTRS: u32 = 1 << 20;
/// Length-encoded authentication data.
pub const PLUGIN_AUTH_LENENC_CLIENT_DATA: u32 = 1 << 21;
/// Session state changes in OK; changes OK's layout.
pub const SESSION_TRACK: u32 = 1 << 23;
/// Result sets end in OK instead of EOF.
pub const DEPRECATE_EOF: u32 = 1 << 24;
/// Optional result set metadata; changes the layout of results.
pub const OPTIONAL_RESULTSET_METADATA: u32 = 1 << 25;
/// zstd frames.
pub const ZSTD_COMPRESSION: u32 = 1 << 26;
/// Query attributes; changes the layout of COM_QUERY.
pub const QUERY_ATTRIBUTES: u32 = 1 << 27;

/// What the relay understands. A flag outside this set is never offered, even if a later Dolt has it:
/// it could change a layout that the reply tracker reads.
pub const UNDERSTOOD: u32 = LONG_PASSWORD
    | FOUND_ROWS
    | LONG_FLAG
    | CONNECT_WITH_DB
    | LOCAL_FILES
    | PROTOCOL_41
    | TRANSACTIONS
    | SECURE_CONNECTION
    | MULTI_STATEMENTS
    | MULTI_RESULTS
    | PLUGIN_AUTH
    | CONNECT_ATTRS
    | PLUGIN_AUTH_LENENC_CLIENT_DATA
    | DEPRECATE_EOF;

/// What a client must have for us to serve it.
pub const REQUIRED_OF_CLIENT: u32 = PROTOCOL_41 | SECURE_CONNECTION;
