//! Owns the translation between opensrv-mysql and the commands.
//! Does not parse commands, and does not trust opensrv: `guard` decides what gets here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlShim, Column, ColumnFlags, ColumnType, InitWriter, OkResponse, ParamParser, QueryResultWriter,
    StatementMetaWriter,
};
use tokio::io::AsyncWrite;

use super::answer::{Answer, Cell, Refusal, Table};
use super::backend::Backend;
use super::guard::REFUSED_PREFIX;
use super::{commands, guard};

/// Longest that a command may take; making a rig on a busy Dolt is the slowest.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Statements one connection may have prepared.
const PREPARED_MAX: usize = 256;

/// One connection's view of the console.
pub struct Shim {
    pub backend: Arc<dyn Backend>,
    /// Who is at the other end, as `uid 1000, pid 5123`.
    pub by: String,
    pub salt: [u8; 20],
    pub connection_id: u32,
    /// Tells the guard that the handshake is over.
    pub authenticated: Arc<AtomicBool>,
    /// Texts by statement id - 1; closed ones are empty.
    pub prepared: Vec<Option<String>>,
}

impl Shim {
    async fn answer(&self, sql: &str) -> Result<Answer, Refusal> {
        if let Some(what) = sql.strip_prefix(REFUSED_PREFIX) {
            return Err(Refusal::unknown_command(what));
        }
        let run = commands::run(sql, &self.by, self.backend.as_ref());
        match tokio::time::timeout(COMMAND_TIMEOUT, run).await {
            Ok(answer) => answer,
            Err(_) => {
                let limit = COMMAND_TIMEOUT.as_secs();
                Err(Refusal::failed(format!(
                    "no answer within {limit} s; it may still be done: look before you repeat it"
                )))
            }
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn version(&self) -> String {
        // Drivers parse the leading number; 8.0 is what Dolt says too.
        format!("8.0.33-branchline-{}", env!("CARGO_PKG_VERSION"))
    }

    fn connect_id(&self) -> u32 {
        self.connection_id
    }

    fn salt(&self) -> [u8; 20] {
        self.salt
    }

    /// The uid was checked at accept, and the guard answers passwords with 1045; this holds without the guard too.
    async fn authenticate(&self, _plugin: &str, _user: &[u8], _salt: &[u8], auth_data: &[u8]) -> bool {
        let accepted = auth_data.is_empty() || auth_data == [0];
        self.authenticated.store(accepted, Ordering::Relaxed);
        accepted
    }

    async fn on_prepare<'a>(
        &'a mut self,
        query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        if self.prepared.len() >= PREPARED_MAX {
            let refusal =
                Refusal::failed(format!("a console connection prepares at most {PREPARED_MAX} statements"));
            return info.error(refusal.kind(), refusal.to_string().as_bytes()).await;
        }
        self.prepared.push(Some(query.to_owned()));
        // The columns come with each execution: what a command returns is not known before it ran.
        info.reply(self.prepared.len() as u32, &[], &[]).await
    }

    async fn on_execute<'a>(
        &'a mut self,
        id: u32,
        _params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let sql = (id as usize).checked_sub(1).and_then(|index| self.prepared.get(index).cloned().flatten());
        let answer = match sql {
            Some(sql) => self.answer(&sql).await,
            None => Err(Refusal::failed(format!("there is no prepared statement {id}"))),
        };
        write(answer, results).await
    }

    async fn on_close<'a>(&'a mut self, id: u32)
    where
        W: 'async_trait,
    {
        if let Some(slot) = (id as usize).checked_sub(1).and_then(|index| self.prepared.get_mut(index)) {
            *slot = None;
        }
    }

    async fn on_query<'a>(&'a mut self, query: &'a str, results: QueryResultWriter<'a, W>) -> io::Result<()> {
        let answer = self.answer(query).await;
        write(answer, results).await
    }

    /// The console has no databases: a default one from a client's settings does no harm.
    async fn on_init<'a>(&'a mut self, _database: &'a str, writer: InitWriter<'a, W>) -> io::Result<()> {
        writer.ok().await
    }
}

async fn write<W: AsyncWrite + Send + Unpin>(
    answer: Result<Answer, Refusal>,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    match answer {
        Ok(Answer::Rows(table)) => write_rows(&table, results).await,
        Ok(Answer::Done(info)) => results.completed(OkResponse { info, ..OkResponse::default() }).await,
        Err(refusal) => results.error(refusal.kind(), refusal.to_string().as_bytes()).await,
    }
}

async fn write_rows<W: AsyncWrite + Send + Unpin>(
    table: &Table,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    let numeric: Vec<bool> = (0..table.columns.len()).map(|column| table.is_numeric(column)).collect();
    let columns: Vec<Column> = table
        .columns
        .iter()
        .zip(&numeric)
        .map(|(name, numeric)| Column {
            table: String::new(),
            column: name.clone(),
            coltype: if *numeric {
                ColumnType::MYSQL_TYPE_LONGLONG
            } else {
                ColumnType::MYSQL_TYPE_VAR_STRING
            },
            colflags: if *numeric { ColumnFlags::UNSIGNED_FLAG } else { ColumnFlags::empty() },
        })
        .collect();
    let mut writer = results.start(&columns).await?;
    for row in &table.rows {
        for (cell, numeric) in row.iter().zip(&numeric) {
            match cell {
                Cell::Null => writer.write_col(None::<&str>)?,
                Cell::Number(number) if *numeric => writer.write_col(*number)?,
                Cell::Number(number) => writer.write_col(number.to_string())?,
                Cell::Text(text) => writer.write_col(text.as_str())?,
            }
        }
        writer.end_row().await?;
    }
    writer.finish().await
}

const _: () = assert!(guard::PACKET_BYTES_MAX < 0xff_ffff, "opensrv's assembly of split packets can panic");
