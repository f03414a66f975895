"""PyMySQL: text protocol in full, and every command byte by hand through its packet layer."""

import hashlib
import threading

import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT, COMMAND, SERVER_STATUS

from transcript import MIB, WORDS, Server, Transcript, big_value, mask_hashes, scratch, shared

out = Transcript()


def connect(**options):
    settings = {
        "host": Server.host,
        "port": Server.port,
        "user": Server.user,
        "password": Server.password,
        "database": Server.database,
        "charset": "utf8mb4",
        "autocommit": True,
        "local_infile": True,
        "max_allowed_packet": 64 * MIB,
        "client_flag": CLIENT.MULTI_STATEMENTS,
    }
    if Server.socket:
        settings["unix_socket"] = Server.socket
    settings.update(options)
    return pymysql.connect(**settings)


def run(connection, sql, arguments=None):
    """Affected rows, columns and rows of one statement."""
    with connection.cursor() as cursor:
        affected = cursor.execute(sql, arguments)
        return {"affected": affected, "columns": cursor.description, "rows": cursor.fetchall()}


def rows(connection, sql, arguments=None):
    return run(connection, sql, arguments)["rows"]


def columns(result):
    """Everything that a column definition carries."""
    return [
        [f.catalog, f.db.decode() if isinstance(f.db, bytes) else f.db, f.table_name, f.org_table, f.name,
         f.org_name, f.charsetnr, f.length, f.type_code, f.flags, f.scale]
        for f in result.fields
    ]


def raw(connection, command, argument=b""):
    """One command byte, and the first packet of its reply."""
    connection._execute_command(command, argument)
    return connection._read_packet()._data


def query(connection):
    out.section("query")
    for sql in ["SELECT 1", "SELECT NULL, '', ' ', 0", "SELECT 1 WHERE FALSE", "DO 1", "SET @a = 5", "SELECT @a",
                "", " ", ";", "-- nothing", "/* nothing */", "SELECT 'a' 'b'", "SELECT \"q\" AS `we``ird`",
                "SELECT 'a\\'b', 'a''b', '%', '\\\\'", "SELECT 1 AS a, 2 AS a", "SELECT * FROM beads",
                "SELECT VERSION(), @@version, @@version_comment", "SHOW TABLES", "SHOW CREATE TABLE beads",
                "DESCRIBE types", "EXPLAIN FORMAT=TREE SELECT * FROM beads", "SHOW VARIABLES LIKE 'character_set_%'",
                "SHOW COLLATION LIKE 'utf8mb4_bin'", "SELECT CURRENT_USER(), DATABASE(), active_branch()"]:
        out.attempt(repr(sql), lambda: run(connection, sql))
    out.attempt("parameters", lambda: rows(connection, "SELECT %s, %s, %s, %s", (1, None, "it's 🐬", b"\x00\xff")))
    out.attempt("empty", lambda: connection.query(""))
    connection.ping(reconnect=False)
    out.say("ping", True)
    out.say("server_version", connection.get_server_info())
    out.say("capabilities", connection.server_capabilities)
    out.say("greeting.charset", connection.server_language)
    out.say("greeting.status", connection.server_status)
    out.say("greeting.plugin", connection._auth_plugin_name)
    out.say("greeting.salt_length", len(connection.salt))


def types(connection):
    out.section("types_text")
    for table in ("types", "bits", "shapes", "vectors"):
        reader = connect()
        try:
            reader.query(f"SELECT * FROM {table} ORDER BY id")
        except UnicodeDecodeError as error:  # Dolt says that BIT has a text character set
            out.say(f"{table}.error", str(error))
            continue
        finally:
            reader.close()
        result = reader._result
        for column in columns(result):
            out.say(f"{table}.column.{column[4]}", column)
        for row in result.rows:
            for column, value in zip(result.fields, row):
                out.say(f"{table}.{row[0]}.{column.name}", value)
    connection.query("SELECT 1 + 1, 1.5 * 2, 1e3, 'a', x'00ff', NULL, NULLIF(1, 1), CAST('2020-01-01' AS DATE), "
                     "COUNT(*), SUM(d), AVG(d), JSON_OBJECT('a', 1), CAST(1 AS UNSIGNED), TRUE, b'101' FROM digits")
    for column in columns(connection._result):
        out.say(f"expression.{column[4]}", column)
    out.say("expression", connection._result.rows)


def large(connection):
    out.section("large")
    value = big_value()
    out.attempt("max_allowed_packet", lambda: rows(connection, "SELECT @@max_allowed_packet"))
    out.attempt("insert", lambda: run(connection, "INSERT INTO big VALUES (1, _binary %s)", (value,)))
    read = rows(connection, "SELECT v FROM big WHERE id = 1")
    out.say("read", read)
    out.say("equal", read[0][0] == value)
    for size in (16 * MIB - 2, 16 * MIB - 1, 16 * MIB):  # around the packet boundary; 5 bytes of row header
        for less in (0, 4, 5, 6):
            text = rows(connection, f"SELECT REPEAT('x', {size - less})")[0][0]
            out.say(f"repeat.{size - less}", [len(text), set(text) == {"x"}])
    for size in (16 * MIB - 2, 16 * MIB - 1, 16 * MIB):  # command packets of exactly the limit
        frame = "SELECT LENGTH('')"
        out.attempt(f"command.{size}", lambda: rows(connection, "SELECT LENGTH('" + "y" * (size - len(frame) - 1) + "')"))
    out.attempt("after", lambda: rows(connection, "SELECT 1"))


def multi(connection):
    out.section("multi")
    batches = ["SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE", "SELECT 1;", "SELECT 1; ; SELECT 2",
               "INSERT INTO beads (title) VALUES ('m1'); SELECT COUNT(*) FROM beads; DELETE FROM beads",
               "SELECT 1; SELECT * FROM nope", "SELECT * FROM nope; SELECT 1", "SELECT 1; SELECT * FROM nope; SELECT 2",
               "SELECT 1; syntax error here", "SELECT ';'; SELECT 2 -- ; SELECT 3", "SET @m = 1; SELECT @m"]
    for index, batch in enumerate(batches):
        with connection.cursor() as cursor:
            try:
                cursor.execute(batch)
                number = 0
                while True:
                    out.say(f"{index}.{number}", [cursor.rowcount, cursor.description, cursor.fetchall(),
                                                  connection.server_status & SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS])
                    number += 1
                    if not cursor.nextset():
                        break
            except pymysql.Error as error:
                out.say(f"{index}.error", {"code": error.args[0], "message": str(error.args[1])})
        # Dolt goes on after an error inside a batch, so what follows is read away as it comes.
        connection.close()
        connection.connect()
        out.attempt(f"{index}.after", lambda: rows(connection, "SELECT 'alive'"))
    raw(connection, 0x1B, b"\x01\x00")
    out.attempt("off", lambda: rows(connection, "SELECT 1; SELECT 2"))
    connection.close()
    connection.connect()


def call(connection):
    out.section("call")
    for sql in ("CALL one_set(3)", "CALL two_sets(3)", "CALL out_value(4, @o)", "SELECT @o", "CALL no_set()",
                "CALL nope()", "CALL one_set()", "CALL one_set(0)"):
        def action():
            with connection.cursor() as cursor:
                cursor.execute(sql)
                sets = [[cursor.rowcount, cursor.description, cursor.fetchall()]]
                while cursor.nextset():
                    sets.append([cursor.rowcount, cursor.description, cursor.fetchall()])
                return sets
        out.attempt(sql, action)


def infile(connection):
    out.section("infile")
    path = scratch("load.csv", "1,one,note 🐬\n2,two,\\N\n3,\"th,ree\",x\n".encode())
    load = "LOAD DATA LOCAL INFILE '%s' INTO TABLE loaded FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
    out.attempt("load", lambda: run(connection, load % path))
    out.attempt("rows", lambda: rows(connection, "SELECT * FROM loaded ORDER BY id"))
    out.attempt("duplicate", lambda: run(connection, load % path))
    out.attempt("after_duplicate", lambda: rows(connection, "SELECT COUNT(*) FROM loaded"))
    run(connection, "ROLLBACK")
    out.attempt("missing", lambda: run(connection, load % (path + ".missing")))
    out.attempt("after_missing", lambda: rows(connection, "SELECT COUNT(*) FROM loaded"))
    run(connection, "ROLLBACK")
    out.attempt("empty", lambda: run(connection, load % scratch("empty.csv", b"")))
    many = b"".join(b"%d,name %d,%s\n" % (n, n, b"n" * 400) for n in range(10, 5010))
    out.attempt("many", lambda: run(connection, load % scratch("many.csv", many)))
    out.attempt("many_rows", lambda: rows(connection, "SELECT COUNT(*), SUM(id), SUM(LENGTH(note)) FROM loaded"))
    out.attempt("wrong_table", lambda: run(connection, load.replace("TABLE loaded", "TABLE nope") % path))
    out.attempt("after_wrong_table", lambda: rows(connection, "SELECT 1"))
    refusing = connect(local_infile=False)
    out.attempt("refused", lambda: run(refusing, load % path))
    refusing._force_close()  # PyMySQL leaves the server waiting for the file: the connection is spent


def transaction(connection):
    out.section("transaction")
    other = connect()
    in_transaction = lambda: [bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS),
                              bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT)]
    count = lambda c: rows(c, "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%%'")[0][0]
    steps = ["BEGIN", "INSERT INTO beads (title) VALUES ('t-1')", "ROLLBACK", "BEGIN",
             "INSERT INTO beads (title) VALUES ('t-1')", "COMMIT", "SET autocommit = 0",
             "INSERT INTO beads (title) VALUES ('t-2')", "ROLLBACK", "INSERT INTO beads (title) VALUES ('t-2')",
             "COMMIT", "SET autocommit = 1", "START TRANSACTION", "INSERT INTO beads (title) VALUES ('t-3')",
             "SAVEPOINT s", "INSERT INTO beads (title) VALUES ('t-4')", "ROLLBACK TO SAVEPOINT s",
             "RELEASE SAVEPOINT s", "ROLLBACK TO SAVEPOINT s", "COMMIT", "START TRANSACTION READ ONLY",
             "INSERT INTO beads (title) VALUES ('t-5')", "COMMIT", "START TRANSACTION WITH CONSISTENT SNAPSHOT",
             "COMMIT AND CHAIN", "ROLLBACK", "BEGIN", "INSERT INTO beads (title) VALUES ('t-6')",
             "CREATE TABLE implicit (id INT PRIMARY KEY)", "ROLLBACK", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"]
    for number, sql in enumerate(steps):
        out.attempt(f"{number}.{sql}", lambda: run(connection, sql)["affected"])
        out.say(f"{number}.status", in_transaction())
        out.say(f"{number}.count", [count(connection) if number not in (21,) else "-", count(other)])
    connection.autocommit(False)
    run(connection, "INSERT INTO beads (title) VALUES ('t-7')")
    connection.rollback()
    connection.autocommit(True)
    out.say("driver_calls", [count(connection), count(other), in_transaction()])
    run(connection, "BEGIN")
    run(connection, "UPDATE beads SET points = 1 WHERE title = 't-1'")
    run(other, "UPDATE beads SET points = 2 WHERE title = 't-1'")
    out.attempt("conflict", lambda: run(connection, "COMMIT"))
    out.attempt("conflict.value", lambda: rows(connection, "SELECT points FROM beads WHERE title = 't-1'"))
    other.close()


def error(connection):
    out.section("error")
    run(connection, "INSERT INTO beads (title) VALUES ('unique')")
    for sql in ("INSERT INTO beads (title) VALUES ('unique')", "SELECT * FROM nope", "SELEC 1", "USE nope",
                "SELECT nope FROM beads", "INSERT INTO beads (title) VALUES (NULL)", "SELECT * FROM nope.nope",
                "INSERT INTO types (id, c_tinyint) VALUES (99, 1000)", "CREATE TABLE beads (id INT)", "DROP TABLE nope",
                "INSERT INTO beads (id, title) VALUES (1)", "SELECT 1 FROM", "KILL 4000000000",
                "SELECT (SELECT d FROM digits)", "SELECT SLEEP('x')", "SELECT * FROM beads AS OF 'nope'"):
        # ROLLBACK after each: Dolt leaves an implicit transaction open after a failed statement.
        out.attempt(sql, lambda: run(connection, sql))
        run(connection, "ROLLBACK")
    connection._execute_command(COMMAND.COM_QUERY, "SELECT * FROM nope")
    try:
        connection._read_packet()
    except pymysql.Error as problem:
        out.say("raw", str(problem))
    out.attempt("login.password", lambda: connect(password="wrong"))
    out.attempt("login.no_password", lambda: connect(password=""))
    out.attempt("login.user", lambda: connect(user="nobody_here"))
    out.attempt("login.database", lambda: connect(database="nope"))
    out.attempt("login.branch", lambda: connect(database=Server.database + "/nope"))
    out.attempt("after", lambda: rows(connection, "SELECT 1"))


def await_statement(connection, marker):
    """Waits until a statement with the marker is running; the deadline is Dolt's SLEEP itself."""
    while True:
        for row in rows(connection, "SHOW FULL PROCESSLIST"):
            if marker in str(row[7]):
                return


def cancel(connection):
    out.section("cancel")
    for name, identify in (("greeting_id", lambda c: c.thread_id()),
                           ("connection_id", lambda c: rows(c, "SELECT CONNECTION_ID()")[0][0])):
        victim = connect()
        number = identify(victim)
        marker = f"{Server.database} {name}"
        outcome = {}

        def sleep():
            try:
                outcome["rows"] = rows(victim, f"SELECT SLEEP(20) /* {marker} */")
            except pymysql.Error as problem:
                outcome["error"] = list(problem.args)

        thread = threading.Thread(target=sleep)
        thread.start()
        await_statement(connection, marker)
        out.attempt(f"{name}.kill", lambda: run(connection, f"KILL QUERY {number}")["affected"])
        thread.join()
        out.say(f"{name}.outcome", outcome)
        out.attempt(f"{name}.after", lambda: rows(victim, "SELECT 'alive'"))
        victim.close()
    victim = connect()
    connection.kill(victim.thread_id())
    try:
        rows(victim, "SELECT 1")
        out.say("kill_connection", "alive")
    except pymysql.Error as problem:
        out.say("kill_connection", type(problem).__name__)


def cursor(connection):
    out.section("cursor")
    with connection.cursor(pymysql.cursors.SSCursor) as unbuffered:
        unbuffered.execute("SELECT d FROM digits ORDER BY d")
        out.say("unbuffered.first", unbuffered.fetchone())
        out.say("unbuffered.many", unbuffered.fetchmany(4))
        out.say("unbuffered.rest", unbuffered.fetchall())
    with connection.cursor(pymysql.cursors.SSCursor) as unbuffered:
        unbuffered.execute("SELECT d FROM digits ORDER BY d")
        out.say("unbuffered.abandoned", unbuffered.fetchone())
    out.attempt("after", lambda: rows(connection, "SELECT 1"))
    out.not_offered("server_side")


def counts(connection):
    out.section("counts")
    found = connect(client_flag=CLIENT.FOUND_ROWS)
    run(connection, "DELETE FROM beads")
    run(connection, "ALTER TABLE beads AUTO_INCREMENT = 1")
    for name, client in (("changed", connection), ("found", found)):
        for sql in (f"INSERT INTO beads (title) VALUES ('{name}-a'), ('{name}-b'), ('{name}-c')",
                    "UPDATE beads SET points = 1", "UPDATE beads SET points = 1", "UPDATE beads SET points = points",
                    f"INSERT INTO beads (title, points) VALUES ('{name}-a', 7) ON DUPLICATE KEY UPDATE points = 7",
                    f"INSERT INTO beads (title, points) VALUES ('{name}-a', 7) ON DUPLICATE KEY UPDATE points = 7",
                    f"REPLACE INTO beads (title, points) VALUES ('{name}-a', 8)",
                    f"INSERT IGNORE INTO beads (title) VALUES ('{name}-a')", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()",
                    "SELECT SQL_CALC_FOUND_ROWS id FROM beads LIMIT 1", "SELECT FOUND_ROWS()",
                    "DELETE FROM beads WHERE id < 0"):
            with client.cursor() as c:
                c.execute(sql)
                result = c._result
                out.say(f"{name}.{sql}", [c.rowcount, c.lastrowid, result.warning_count, result.server_status,
                                          str(result.message), c.fetchall()])
            run(client, "ROLLBACK")
    for sql in ("SELECT 1 / 0", "INSERT IGNORE INTO types (id, c_tinyint) VALUES (77, 1000)", "SELECT CAST('x' AS SIGNED)",
                "DROP TABLE IF EXISTS nope", "CREATE TABLE IF NOT EXISTS beads (id INT)"):
        with connection.cursor() as c:
            try:
                c.execute(sql)
                out.say(f"warnings.{sql}", [c._result.warning_count, c.fetchall()])
            except pymysql.Error as problem:
                out.say(f"warnings.{sql}", str(problem))
            out.attempt(f"warnings.{sql}.shown", lambda: connection.show_warnings())
            run(connection, "ROLLBACK")
    out.attempt("warning_count", lambda: rows(connection, "SELECT @@warning_count, @@error_count"))
    found.close()


def charset(connection):
    out.section("charset")
    for number, word in enumerate(WORDS):
        run(connection, "INSERT INTO words VALUES (%s, %s)", (number, word))
        out.say(f"{number}", rows(connection, "SELECT w, LENGTH(w), CHAR_LENGTH(w), HEX(w) FROM words WHERE id = %s", (number,)))
    for name in ("latin1", "utf8mb3", "ascii", "binary"):
        def action():
            other = connect(charset=name)
            result = rows(other, "SELECT 'caf\u00e9', @@character_set_client, @@character_set_connection, @@collation_connection"
                          if name != "ascii" else "SELECT 'cafe', @@character_set_client, @@character_set_connection")
            other.close()
            return result
        out.attempt(f"connect.{name}", action)
    for sql in ("SET NAMES latin1", "SELECT @@character_set_results", "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
                "SELECT @@collation_connection", "SET NAMES nope", "SET NAMES utf8mb4", "SELECT _latin1 'x', _binary 'x'"):
        out.attempt(sql, lambda: rows(connection, sql))


def session(connection):
    out.section("session")
    where = lambda c: rows(c, "SELECT DATABASE(), active_branch()")
    other = connect()
    run(other, "CALL DOLT_BRANCH('side')")
    out.say("start", where(other))
    out.attempt("init_db.branch", lambda: other.select_db(Server.database + "/side"))
    out.say("init_db.branch.where", where(other))
    out.attempt("init_db.nope", lambda: other.select_db("nope"))
    out.attempt("init_db.branch.nope", lambda: other.select_db(Server.database + "/nope"))
    out.say("init_db.nope.where", where(other))
    out.attempt("reset", lambda: raw(other, 0x1F))
    out.say("reset.where", where(other))
    out.attempt("use.main", lambda: run(other, f"USE `{Server.database}/main`"))
    out.say("use.main.where", where(other))
    out.attempt("use.plain", lambda: run(other, f"USE {Server.database}"))
    out.say("use.plain.where", where(other))
    out.attempt("use.revision", lambda: run(other, f"USE `{Server.database}@side`"))
    out.say("use.revision.where", where(other))
    out.attempt("use.information_schema", lambda: run(other, "USE information_schema"))
    out.say("use.information_schema.where", where(other))
    other.close()
    other = connect(database=Server.database + "/side")
    out.say("handshake.branch", where(other))
    other.close()
    other = connect(database=None)
    out.say("handshake.none", where(other))
    out.attempt("no_database", lambda: rows(other, "SELECT * FROM beads"))
    out.attempt("qualified", lambda: rows(other, f"SELECT COUNT(*) FROM `{Server.database}/side`.digits"))
    for sql in ("SET @v = 'kept'", "SET SESSION sql_mode = 'ANSI_QUOTES'", "SET time_zone = '+02:00'", "CREATE TEMPORARY TABLE IF NOT EXISTS nope.t (id INT)",
                "PREPARE p FROM 'SELECT ? + 1'", "SET @n = 41", "EXECUTE p USING @n", "DEALLOCATE PREPARE p", "EXECUTE p USING @n",
                "SELECT GET_LOCK('bl', 1)", "SELECT RELEASE_LOCK('bl')", "SELECT @v, @@sql_mode, @@time_zone"):
        out.attempt(sql, lambda: rows(other, sql))
    out.attempt("reset.all", lambda: raw(other, 0x1F))
    out.attempt("reset.all.variables", lambda: rows(other, "SELECT @v, @@sql_mode, @@time_zone, DATABASE()"))
    other.close()
    for name, command, argument in (
        ("statistics", 0x09, b""), ("process_info", 0x0A, b""), ("debug", 0x0D, b""), ("refresh", 0x07, b"\x01"),
        ("change_user", 0x11, Server.user.encode() + b"\x00\x00" + Server.database.encode() + b"\x00"),
        ("create_db", 0x05, b"x"), ("drop_db", 0x06, b"x"), ("process_kill", 0x0C, b"\xff\xff\xff\xff"),
        ("set_option.on", 0x1B, b"\x00\x00"), ("set_option.off", 0x1B, b"\x01\x00"), ("set_option.wrong", 0x1B, b"\x07\x00"),
        ("daemon", 0x1D, b""), ("unknown", 0x7F, b""), ("unknown.long", 0x7F, b"z" * 70000), ("ping", 0x0E, b""),
        ("stmt_execute.unknown", 0x17, b"\x63\x00\x00\x00\x00\x01\x00\x00\x00"), ("stmt_reset.unknown", 0x1A, b"\x63\x00\x00\x00"),
        ("stmt_fetch.unknown", 0x1C, b"\x63\x00\x00\x00\x01\x00\x00\x00"),
    ):
        other = connect()
        try:
            out.say(f"raw.{name}", raw(other, command, argument))
        except pymysql.err.OperationalError as problem:
            lost = problem.args[0] in (2006, 2013)
            out.say(f"raw.{name}", "connection lost" if lost else list(problem.args))
        except pymysql.Error as problem:
            out.say(f"raw.{name}", list(problem.args))
        if name not in ("set_option.wrong", "stmt_reset.unknown"):  # Dolt answers these twice
            out.attempt(f"raw.{name}.after", lambda: rows(other, "SELECT 'alive'"))
        other._force_close()
    for table in ("types", "beads", "nope"):
        other = connect()
        try:
            packet = raw(other, 0x04, table.encode() + b"\x00%")
            number = 0
            while not (packet[0] == 0xFE and len(packet) < 9):
                out.say(f"field_list.{table}.{number}", packet.replace(Server.database.encode(), b"<db>").hex())
                number += 1
                packet = other._read_packet()._data
            out.say(f"field_list.{table}.end", packet)
        except pymysql.Error as problem:
            out.say(f"field_list.{table}", list(problem.args))
        out.attempt(f"field_list.{table}.after", lambda: rows(other, "SELECT 'alive'"))
        other.close()


def dolt(connection):
    out.section("dolt")
    other = connect()
    run(other, "DROP TABLE big")
    for sql in ("CALL DOLT_COMMIT('-Am', 'tables')", "CALL DOLT_BRANCH('work')", "CALL DOLT_CHECKOUT('work')", "SELECT DATABASE(), active_branch()",
                "INSERT INTO beads (title) VALUES ('on work')", "CALL DOLT_ADD('-A')",
                "CALL DOLT_COMMIT('-m', 'from work', '--author', 'A <a@example.com>')", "CALL DOLT_COMMIT('-m', 'nothing')",
                "SELECT message, committer FROM dolt_log ORDER BY date DESC LIMIT 1", "CALL DOLT_CHECKOUT('main')",
                "SELECT COUNT(*) FROM beads WHERE title = 'on work'", f"SELECT COUNT(*) FROM `{Server.database}/work`.beads",
                "SELECT COUNT(*) FROM beads AS OF 'work' WHERE title = 'on work'", "CALL DOLT_CHECKOUT('nope')",
                "CALL DOLT_CHECKOUT('-b', 'fresh')", "SELECT active_branch()", f"USE {Server.database}",
                "SELECT active_branch()", "CALL DOLT_CHECKOUT('main')", "CALL DOLT_BRANCH('-D', 'fresh')", "CALL DOLT_BRANCH('work')",
                "SELECT name FROM dolt_branches ORDER BY name", "CALL DOLT_CHECKOUT('work')"):
        out.attempt(sql, lambda: mask_hashes(rows(other, sql)))
    other._execute_command(0x1F, b"")
    other._read_packet()
    out.say("reset_after_checkout", rows(other, "SELECT DATABASE(), active_branch()"))
    other.close()


def wide(connection):
    out.section("wide")
    select = "SELECT " + ", ".join(("NULL" if n % 3 == 0 else str(n) if n % 3 == 1 else f"'v{n}'") + f" AS c{n}" for n in range(500))
    result = run(connection, select)
    out.say("text", [len(result["columns"]), result["rows"]])
    definitions = ", ".join(f"c{n} INT" for n in range(500))
    out.attempt("create", lambda: run(connection, f"CREATE TABLE wide (id INT PRIMARY KEY, {definitions})")["affected"])
    out.attempt("insert", lambda: run(connection, f"INSERT INTO wide VALUES (1, {', '.join(str(n) for n in range(500))})")["affected"])
    out.attempt("select", lambda: rows(connection, "SELECT * FROM wide"))


def stream(connection):
    out.section("stream")
    total, hashed = 0, hashlib.sha1()
    with connection.cursor(pymysql.cursors.SSCursor) as unbuffered:
        unbuffered.execute(shared("stream.sql")[0])
        for row in unbuffered:
            total += 1
            hashed.update(repr(row).encode())
    out.say("rows", total)
    out.say("hash", hashed.hexdigest())


def pipeline(connection):
    """Two commands in one write, as PyMySQL itself never does; the replies are read by hand."""
    out.section("pipeline")
    packets = b""
    for sql in (b"SELECT 'first'", b"SELECT * FROM nope", b"SELECT 'third'"):
        body = bytes([COMMAND.COM_QUERY]) + sql
        packets += len(body).to_bytes(3, "little") + b"\x00" + body
    connection._write_bytes(packets)
    for name in ("first", "second", "third"):
        connection._next_seq_id = 1
        out.attempt(name, lambda: [connection._read_query_result(), connection._result.rows][1])
    out.attempt("after", lambda: rows(connection, "SELECT 1"))


def main():
    connection = connect()
    out.section("connect")
    for sql in shared("schema.sql") + shared("types.sql"):
        out.attempt(sql[:40], lambda: run(connection, sql)["affected"])
    for section in (query, types, large, multi, call, infile, transaction, error, cancel, cursor, counts, charset,
                    dolt, session, wide, stream, pipeline):
        section(connection)
    out.section("prepared")
    out.not_offered("all")
    out.section("types_binary")
    out.not_offered("all")
    out.section("long_data")
    out.not_offered("all")
    connection.close()
    out.end()


main()
