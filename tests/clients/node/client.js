// Node mysql2: text and binary protocol, queued commands, streams, reset connection and change user.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { Readable } = require('node:stream');
const { createRequire } = require('node:module');

// The packages are installed outside the repository.
const mysql = createRequire(path.join(process.env.BL_NODE_MODULES, 'x.js'))('mysql2');

const MIB = 1024 * 1024;
const { BL_HOST, BL_PORT, BL_USER, BL_PASSWORD, BL_DATABASE, BL_SHARED, BL_SCRATCH } = process.env;
let section = '';
let checks = 0;

function say(name, value) {
  checks += 1;
  const line = `${section}.${name}: ${JSON.stringify(plain(value))}`;
  process.stdout.write(`${line.replaceAll(BL_SCRATCH, '<scratch>').replaceAll(BL_DATABASE, '<db>')}\n`);
}

function notOffered(what) {
  process.stdout.write(`not offered by this client: ${section}.${what}\n`);
}

/** A value with its JavaScript type kept where JSON would lose it. */
function plain(value) {
  if (value === undefined) return 'undefined';
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : { number: String(value) };
  if (typeof value === 'bigint') return { bigint: String(value) };
  if (Buffer.isBuffer(value)) return value.length > 256 ? { length: value.length, sha1: sha1(value) } : { bytes: value.toString('hex') };
  if (value instanceof Date) return { date: Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString() };
  if (Array.isArray(value)) return value.map(plain);
  if (value.constructor && value.constructor.name === 'ResultSetHeader') {
    const { affectedRows, insertId, info, serverStatus, warningStatus, changedRows } = value;
    return { affectedRows, insertId, info, serverStatus, warningStatus, changedRows };
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

const sha1 = (data) => crypto.createHash('sha1').update(data).digest('hex');
const describe = (error) => ({ error: error.code, code: error.errno, sqlstate: error.sqlState, message: error.sqlMessage ?? error.message });
const maskHashes = (value) => JSON.stringify(plain(value)).replaceAll(/\b[0-9a-v]{32}\b/g, '<hash>');
const shared = (name) => fs.readFileSync(path.join(BL_SHARED, name), 'utf8').trim().split('\n');

async function attempt(name, action) {
  try {
    say(name, await action());
  } catch (error) {
    say(name, describe(error));
  }
}

function options(change = {}) {
  return {
    host: BL_HOST,
    port: Number(BL_PORT),
    user: BL_USER,
    password: BL_PASSWORD,
    database: BL_DATABASE,
    charset: 'UTF8MB4_0900_AI_CI',
    multipleStatements: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    decimalNumbers: false,
    dateStrings: true,
    rowsAsArray: true,
    infileStreamFactory: (name) => fs.createReadStream(name),
    ...change,
  };
}

/** A connection that is logged in, or the error of the login. */
function open(change) {
  return new Promise((resolve, reject) => {
    const connection = mysql.createConnection(options(change));
    connection.once('error', reject);
    connection.connect((error) => {
      if (error) return reject(error);
      connection.removeListener('error', reject);
      connection.on('error', () => {});
      return resolve(connection);
    });
  });
}

const close = (connection) => new Promise((resolve) => { connection.end(() => resolve()); });

/** Rows or header, with the columns' metadata where asked for. */
function send(method, connection, sql, values, fields = false) {
  return new Promise((resolve, reject) => {
    connection[method](sql, values, (error, rows, columns) => {
      if (error) return reject(error);
      return resolve(fields ? { columns: (columns ?? []).map(column), rows } : rows);
    });
  });
}

const query = (connection, sql, values) => send('query', connection, sql, values);
const execute = (connection, sql, values) => send('execute', connection, sql, values);

/** Everything that a column definition carries. */
function column(field) {
  return [field.catalog, field.schema, field.table, field.orgTable, field.name, field.orgName,
    field.characterSet, field.encoding, field.columnLength, field.columnType, field.flags, field.decimals];
}

async function queries(c) {
  section = 'query';
  for (const sql of ['SELECT 1', "SELECT NULL, '', 0", 'SELECT 1 WHERE FALSE', 'SET @a = 5', 'SELECT @a', '-- nothing', ';', 'SELECT * FROM beads',
    'SHOW TABLES', 'SELECT "q" AS `we``ird`', 'SELECT CURRENT_USER(), DATABASE(), active_branch()', 'SELECT 1 AS a, 2 AS a']) {
    await attempt(sql, () => send('query', c, sql, undefined, true));
  }
  await attempt('parameters', () => query(c, 'SELECT ?, ?, ?, ?', [1, null, "it's 🐬", Buffer.from([0, 255])]));
  await attempt('ping', () => new Promise((resolve, reject) => { c.ping((error) => (error ? reject(error) : resolve('pong'))); }));
  const greeting = c._handshakePacket;
  say('greeting', [greeting.protocolVersion, greeting.serverVersion, greeting.capabilityFlags, greeting.characterSet, greeting.statusFlags,
    greeting.authPluginName]);
}

async function types() {
  for (const [name, method] of [['types_text', 'query'], ['types_binary', 'execute']]) {
    section = name;
    for (const dateStrings of [true, false]) {
      const reader = await open({ dateStrings, timezone: 'Z' });
      for (const table of ['types', 'bits', 'shapes', 'vectors']) {
        try {
          const { columns, rows } = await send(method, reader, `SELECT * FROM ${table} ORDER BY id`, [], true);
          if (dateStrings) columns.forEach((item) => say(`${table}.column.${item[4]}`, item));
          rows.forEach((row) => row.forEach((value, index) => say(`${table}.${dateStrings}.${row[0]}.${columns[index][4]}`, value)));
        } catch (error) {
          say(`${table}.error`, describe(error));
        }
      }
      await close(reader);
    }
  }
}

async function prepared(c) {
  section = 'prepared';
  for (const value of [1, -1, 1.5, 2 ** 53, 'text 🐬', '', Buffer.from([0, 255]), null, true, new Date(Date.UTC(2024, 1, 29, 12, 34, 56, 789)), { a: [1] }, 12345678901234567890n]) {
    await attempt(JSON.stringify(plain(value)), () => send('execute', c, 'SELECT ?', [value], true));
  }
  let total = 0;
  const statement = await new Promise((resolve, reject) => { c.prepare('SELECT ? + 1', (error, made) => (error ? reject(error) : resolve(made))); });
  say('statement', [statement.parameters.map(column), statement.columns.map(column)]);
  for (let number = 0; number < 100; number += 1) {
    const rows = await new Promise((resolve, reject) => { statement.execute([number], (error, got) => (error ? reject(error) : resolve(got))); });
    total += Number(rows[0][0]);
  }
  say('hundred', total);
  statement.close();
  for (const round of [0, 1]) {
    await attempt(`again.${round}`, () => execute(c, 'SELECT d FROM digits WHERE d > ? ORDER BY d', [6]));
    c.unprepare('SELECT d FROM digits WHERE d > ? ORDER BY d');
  }
  await attempt('wrong', () => execute(c, 'SELECT * FROM nope WHERE id = ?', [1]));
  await attempt('syntax', () => execute(c, 'SELEC ?', [1]));
  await attempt('insert', () => execute(c, 'INSERT INTO beads (title, points) VALUES (?, ?)', ['prepared', 3]));
  await attempt('duplicate', () => execute(c, 'INSERT INTO beads (title, points) VALUES (?, ?)', ['prepared', 3]));
  await query(c, 'ROLLBACK');
  await attempt('update', () => execute(c, 'UPDATE beads SET points = ? WHERE title = ?', [4, 'prepared']));
  await attempt('call', () => execute(c, 'CALL one_set(?)', [2]));
  await attempt('zero_rows', () => execute(c, 'SELECT * FROM beads WHERE id < ?', [0]));
  await attempt('too_few', () => execute(c, 'SELECT ?, ?', [1]));
  section = 'long_data';
  notOffered('all');
}

async function large(c) {
  section = 'large';
  const block = crypto.createHash('sha512').update('branchline').digest();
  const value = Buffer.alloc(20 * MIB, block);
  await attempt('insert.text', () => query(c, 'INSERT INTO big VALUES (?, ?)', [1, value]));
  await attempt('insert.binary', () => execute(c, 'INSERT INTO big VALUES (?, ?)', [2, value]));
  await attempt('read.text', () => query(c, 'SELECT v FROM big ORDER BY id'));
  await attempt('read.binary', () => execute(c, 'SELECT v FROM big ORDER BY id', []));
  await query(c, 'DROP TABLE big');
}

async function multi() {
  section = 'multi';
  const batches = ["SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE", "INSERT INTO beads (title) VALUES ('m1'); SELECT 5; DELETE FROM beads WHERE title = 'm1'",
    'SELECT 1; SELECT * FROM nope', 'SET @m = 1; SELECT @m'];
  for (const [index, batch] of batches.entries()) {
    const c = await open();
    await attempt(String(index), () => send('query', c, batch));
    await attempt(`${index}.after`, () => query(c, "SELECT 'alive'"));
    await close(c);
  }
  const c = await open();
  const events = [];
  await new Promise((resolve) => {
    c.query('SELECT 1; SELECT * FROM nope').on('result', (row, index) => events.push(['result', index, plain(row)]))
      .on('fields', (fields, index) => events.push(['fields', index, fields && fields.length]))
      .on('error', (error) => { events.push(describe(error)); resolve(); }).on('end', resolve);
  });
  say('events', events);
  c.destroy();
}

async function call(c) {
  section = 'call';
  for (const sql of ['CALL one_set(3)', 'CALL two_sets(3)', 'CALL out_value(4, @o)', 'SELECT @o', 'CALL no_set()', 'CALL nope()', 'CALL one_set()']) {
    await attempt(sql, () => query(c, sql));
    await attempt(`${sql}.prepared`, () => execute(c, sql, []));
  }
}

async function infile(c) {
  section = 'infile';
  const file = path.join(BL_SCRATCH, 'load.csv');
  fs.writeFileSync(file, '1,one,note 🐬\n2,two,\\N\n');
  const load = (name, table = 'loaded') => `LOAD DATA LOCAL INFILE '${name}' INTO TABLE ${table} FIELDS TERMINATED BY ','`;
  await attempt('load', () => query(c, load(file)));
  await attempt('rows', () => query(c, 'SELECT * FROM loaded ORDER BY id'));
  const other = await open();
  await attempt('missing', () => query(other, load(`${file}.missing`)));
  await attempt('after_missing', () => query(other, 'SELECT COUNT(*) FROM loaded'));
  other.destroy();
  let many = '';
  for (let number = 10; number < 3010; number += 1) many += `${number},name ${number},${'n'.repeat(400)}\n`;
  await attempt('many', () => query(c, { sql: load('many'), infileStreamFactory: () => Readable.from([Buffer.from(many.slice(0, 100)), Buffer.from(many.slice(100))]) }));
  await attempt('many_rows', () => query(c, 'SELECT COUNT(*), SUM(id) FROM loaded'));
  await attempt('wrong_table', () => query(c, load(file, 'nope')));
  await attempt('after_wrong_table', () => query(c, "SELECT 'alive'"));
  const refusing = await open({ infileStreamFactory: undefined });
  await attempt('refused', () => query(refusing, load(file)));
  refusing.destroy();
}

async function transaction(c) {
  section = 'transaction';
  const other = await open();
  const count = async (of) => (await query(of, "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%'"))[0][0];
  const counts = async () => [await count(c), await count(other)];
  const promised = (method) => new Promise((resolve, reject) => { c[method]((error) => (error ? reject(error) : resolve())); });
  await promised('beginTransaction');
  await query(c, "INSERT INTO beads (title) VALUES ('t-1')");
  say('begun', await counts());
  await promised('rollback');
  say('rolled_back', await counts());
  await promised('beginTransaction');
  for (const sql of ["INSERT INTO beads (title) VALUES ('t-1')", 'SAVEPOINT s', "INSERT INTO beads (title) VALUES ('t-2')", 'ROLLBACK TO s', "INSERT INTO beads (title) VALUES ('t-1')"]) {
    await attempt(sql, () => query(c, sql));
    say(`${sql}.count`, await counts());
  }
  await promised('commit');
  say('committed', await counts());
  for (const sql of ['SET autocommit = 0', "INSERT INTO beads (title) VALUES ('t-3')", 'ROLLBACK', 'SET autocommit = 1', 'START TRANSACTION READ ONLY',
    "INSERT INTO beads (title) VALUES ('t-4')", 'ROLLBACK']) {
    await attempt(sql, () => query(c, sql));
  }
  say('end', await counts());
  await promised('beginTransaction');
  await query(c, "UPDATE beads SET points = 1 WHERE title = 't-1'");
  await query(other, "UPDATE beads SET points = 2 WHERE title = 't-1'");
  await attempt('conflict', () => promised('commit'));
  await close(other);
}

async function errors(c) {
  section = 'error';
  await query(c, "INSERT INTO beads (title) VALUES ('unique')");
  for (const sql of ["INSERT INTO beads (title) VALUES ('unique')", 'SELECT * FROM nope', 'SELEC 1', 'USE nope', 'SELECT nope FROM beads',
    'INSERT INTO beads (title) VALUES (NULL)', 'INSERT INTO types (id, c_tinyint) VALUES (99, 1000)']) {
    await attempt(sql, () => query(c, sql));
    await query(c, 'ROLLBACK');
  }
  for (const [name, change] of Object.entries({ password: { password: 'wrong' }, no_password: { password: '' }, user: { user: 'nobody_here' },
    database: { database: 'nope' }, branch: { database: `${BL_DATABASE}/nope` } })) {
    await attempt(`login.${name}`, async () => { await close(await open(change)); return 'logged in'; });
  }
  await attempt('after', () => query(c, 'SELECT 1'));
}

async function cancel(c) {
  section = 'cancel';
  for (const [name, identify] of [['greeting_id', async (of) => of.threadId], ['connection_id', async (of) => (await query(of, 'SELECT CONNECTION_ID()'))[0][0]]]) {
    const victim = await open();
    const id = await identify(victim);
    const marker = `${BL_DATABASE} ${name}`;
    const outcome = query(victim, `SELECT SLEEP(20) /* ${marker} */`).then((rows) => ({ rows }), describe);
    while (!(await query(c, 'SHOW FULL PROCESSLIST')).some((row) => String(row[7]).includes(marker)));
    await attempt(`${name}.kill`, () => query(c, `KILL QUERY ${id}`));
    say(`${name}.outcome`, await outcome);
    await attempt(`${name}.after`, () => query(victim, "SELECT 'alive'"));
    await close(victim);
  }
}

async function counts() {
  section = 'counts';
  for (const [name, flags] of [['changed', ['-FOUND_ROWS']], ['found', ['FOUND_ROWS']]]) {
    const c = await open({ flags });
    for (const sql of [`INSERT INTO beads (title) VALUES ('${name}-a'), ('${name}-b')`, `UPDATE beads SET points = 1 WHERE title LIKE '${name}%'`,
      `UPDATE beads SET points = 1 WHERE title LIKE '${name}%'`, `REPLACE INTO beads (title, points) VALUES ('${name}-a', 8)`, 'DELETE FROM beads WHERE id < 0',
      'SELECT FOUND_ROWS()', 'SELECT ROW_COUNT()', 'SELECT LAST_INSERT_ID()', 'DROP TABLE IF EXISTS nope', 'SHOW WARNINGS', 'ROLLBACK', 'SELECT 1 / 0', 'SHOW WARNINGS', 'ROLLBACK']) {
      await attempt(`${name}.${sql}`, () => query(c, sql));
    }
    await close(c);
  }
}

async function charset(c) {
  section = 'charset';
  for (const [number, word] of ['naïve', '日本語', '🐬🚀', '', 'a\u0300'].entries()) {
    await attempt(`${number}.insert`, () => execute(c, 'INSERT INTO words VALUES (?, ?)', [number, word]));
    await attempt(`${number}.text`, () => query(c, `SELECT w, HEX(w) FROM words WHERE id = ${number}`));
    await attempt(`${number}.binary`, () => execute(c, 'SELECT w, HEX(w) FROM words WHERE id = ?', [number]));
  }
  for (const name of ['LATIN1_SWEDISH_CI', 'UTF8MB4_BIN', 'UTF8_GENERAL_CI']) {
    const other = await open({ charset: name });
    await attempt(name, () => query(other, "SELECT 'caf\u00e9', @@character_set_client, @@collation_connection"));
    await close(other);
  }
}

async function dolt() {
  section = 'dolt';
  const c = await open();
  for (const sql of ["CALL DOLT_COMMIT('-Am', 'tables')", "CALL DOLT_BRANCH('work')", "CALL DOLT_CHECKOUT('work')", 'SELECT DATABASE(), active_branch()',
    "INSERT INTO beads (title) VALUES ('on work')", "CALL DOLT_COMMIT('-am', 'from work')", "CALL DOLT_COMMIT('-m', 'nothing')", "CALL DOLT_CHECKOUT('main')",
    "SELECT COUNT(*) FROM beads WHERE title = 'on work'", "CALL DOLT_CHECKOUT('work')"]) {
    await attempt(sql, async () => maskHashes(await query(c, sql)));
  }
  await attempt('prepared', async () => maskHashes(await execute(c, "CALL DOLT_COMMIT('--allow-empty', '-m', ?)", ['empty'])));
  await close(c);
}

async function session(main) {
  section = 'session';
  const where = (of) => query(of, 'SELECT DATABASE(), active_branch(), @v');
  await query(main, "CALL DOLT_BRANCH('side')");
  const c = await open();
  for (const sql of [`USE \`${BL_DATABASE}/side\``, `USE \`${BL_DATABASE}\``, 'USE information_schema', `USE \`${BL_DATABASE}/main\``]) {
    await attempt(sql, () => query(c, sql));
    say(`${sql}.where`, await where(c));
  }
  await query(c, "SET @v = 'kept'");
  say('variable', await where(c));
  await attempt('reset', () => new Promise((resolve, reject) => { c.reset((error) => (error ? reject(error) : resolve('reset'))); }));
  await attempt('reset.where', () => where(c));
  c.destroy();
  const changing = await open();
  await attempt('change_user', () => new Promise((resolve, reject) => {
    changing.changeUser({ user: BL_USER, password: BL_PASSWORD, database: BL_DATABASE }, (error) => (error ? reject(error) : resolve('changed')));
  }));
  changing.destroy();
  const branch = await open({ database: `${BL_DATABASE}/side` });
  say('handshake.branch', await where(branch));
  await close(branch);
  const none = await open({ database: undefined });
  say('handshake.none', await where(none));
  await attempt('no_database', () => query(none, 'SELECT * FROM beads'));
  await close(none);
}

async function wide(c) {
  section = 'wide';
  const numbers = [...Array(500).keys()];
  const select = `SELECT ${numbers.map((n) => `${['NULL', n, `'v${n}'`][n % 3]} AS c${n}`).join(', ')}`;
  await attempt('text', () => query(c, select));
  await attempt('binary', () => execute(c, select, []));
  await attempt('parameters', () => execute(c, `SELECT ${numbers.map(() => '?').join(', ')}`, numbers));
}

async function stream(c) {
  section = 'stream';
  for (const method of ['query', 'execute']) {
    const hash = crypto.createHash('sha1');
    let total = 0;
    for await (const row of c[method](shared('stream.sql')[0]).stream({ highWaterMark: 50 })) {
      hash.update(row.map(String).join('|'));
      total += 1;
    }
    say(method, [total, hash.digest('hex')]);
  }
}

/** mysql2 queues commands and sends each when the one before is answered: they must come back in order. */
async function pipeline(c) {
  section = 'pipeline';
  const sent = [query(c, "SELECT 'first'"), query(c, 'SELECT * FROM nope'), execute(c, 'SELECT ?', ['third']), query(c, 'SELECT SLEEP(0), 4'), execute(c, 'SELECT ?', ['fifth'])];
  const settled = await Promise.allSettled(sent);
  settled.forEach((result, index) => say(String(index), result.status === 'fulfilled' ? result.value : describe(result.reason)));
  section = 'cursor';
  notOffered('all');
}

async function main() {
  const c = await open();
  section = 'connect';
  for (const sql of [...shared('schema.sql'), ...shared('types.sql')]) await attempt(sql.slice(0, 40), () => query(c, sql));
  for (const part of [queries, types, prepared, large, multi, call, infile, transaction, errors, cancel, counts, charset, dolt, session, wide, stream, pipeline]) {
    await part(c);
  }
  await close(c);
  process.stdout.write(`checks: ${checks}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
