"""mysql-connector-python, its pure Python implementation.

Text and binary protocol, server-side prepared cursors with long data, COM_RESET_CONNECTION and COM_CHANGE_USER.
"""

import datetime
import decimal
import hashlib
import threading

import mysql.connector
from mysql.connector.constants import ClientFlag

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
        "use_pure": True,
        "ssl_disabled": True,
        "allow_local_infile": True,
        "auth_plugin": "mysql_native_password",
        "connection_timeout": 60,
    }
    settings.update(options)
    return mysql.connector.connect(**settings)


def run(connection, sql, arguments=(), **options):
    """Columns, rows and counters of one statement."""
    cursor = connection.cursor(**options)
    try:
        cursor.execute(sql, arguments)
        rows = cursor.fetchall() if cursor.with_rows else []
        return {"count": cursor.rowcount, "last_id": cursor.lastrowid, "columns": columns(cursor), "rows": rows}
    finally:
        cursor.close()


def columns(cursor):
    """Name, type, flags and character set: what the driver keeps of a column definition."""
    return [list(column) for column in cursor.description or []]


def rows(connection, sql, arguments=(), **options):
    return run(connection, sql, arguments, **options)["rows"]


def query(connection):
    out.section("query")
    for sql in ("SELECT 1", "SELECT NULL, '', ' ', 0", "SELECT 1 WHERE FALSE", "SET @a = 5", "SELECT @a",
                "SELECT \"q\" AS `we``ird`", "SELECT * FROM beads", "SHOW TABLES", "DESCRIBE types",
                "SELECT CURRENT_USER(), DATABASE(), active_branch()", "-- nothing"):
        out.attempt(sql, lambda: run(connection, sql))
    out.attempt("parameters", lambda: rows(connection, "SELECT %s, %s, %s", (1, None, "it's 🐬")))
    out.attempt("ping", lambda: connection.ping(reconnect=False))
    out.attempt("server_version", lambda: connection.server_info)


def types(connection):
    for section, options in (("types_text", {}), ("types_binary", {"prepared": True}), ("types_raw", {"raw": True})):
        out.section(section)
        for table in ("types", "bits", "shapes", "vectors"):
            reader = connect()
            cursor = reader.cursor(**options)
            try:
                cursor.execute(f"SELECT * FROM {table} ORDER BY id")
                for column in columns(cursor):
                    out.say(f"{table}.column.{column[0]}", column)
                for number, row in enumerate(cursor.fetchall()):
                    for column, value in zip(cursor.description, row):
                        out.say(f"{table}.{number}.{column[0]}", value)
            except Exception as error:
                out.say(f"{table}.error", [type(error).__name__, str(error)])
                reader = None  # its state is the driver's own affair
            if reader:
                cursor.close()
                reader.close()


def prepared(connection):
    out.section("prepared")
    cursor = connection.cursor(prepared=True)
    values = (1, -1, 2**63 - 1, 1.5, "text 🐬", b"\x00\xff", None, decimal.Decimal("12.50"),
              datetime.datetime(2024, 2, 29, 12, 34, 56, 789012), datetime.date(2024, 2, 29),
              datetime.timedelta(hours=1, microseconds=5))
    for value in values:
        def action():
            cursor.execute("SELECT ?", (value,))
            return [columns(cursor), cursor.fetchall()]
        out.attempt(repr(value), action)
    cursor.close()
    cursor = connection.cursor(prepared=True)
    total = 0
    for number in range(100):
        cursor.execute("SELECT ? + 1", (number,))
        total += int(cursor.fetchall()[0][0])
    out.say("hundred", total)
    cursor.execute("SELECT d FROM digits WHERE d > ? ORDER BY d", (6,))
    out.say("again", cursor.fetchall())
    out.attempt("wrong", lambda: cursor.execute("SELECT * FROM nope WHERE id = ?", (1,)))
    cursor.close()
    cursor = connection.cursor(prepared=True)
    cursor.execute("INSERT INTO beads (title, points) VALUES (?, ?)", ("prepared", 3))
    out.say("insert", [cursor.rowcount, cursor.lastrowid])
    out.attempt("duplicate", lambda: cursor.execute("INSERT INTO beads (title, points) VALUES (?, ?)", ("prepared", 3)))
    connection.rollback()
    cursor.close()
    cursor = connection.cursor(prepared=True)
    cursor.execute("UPDATE beads SET points = ? WHERE title = ?", (4, "prepared"))
    out.say("update", cursor.rowcount)
    cursor.close()
    out.attempt("call", lambda: rows(connection, "CALL one_set(?)", (2,), prepared=True))
    cursor = connection.cursor(prepared=True, dictionary=False)
    cursor.execute("SELECT * FROM beads WHERE id < ?", (0,))
    out.say("zero_rows", [columns(cursor), cursor.fetchall()])
    cursor.close()


def large(connection):
    out.section("large")
    value = big_value()
    out.attempt("insert.text", lambda: run(connection, "INSERT INTO big VALUES (1, %s)", (value,))["count"])
    out.attempt("read.text", lambda: rows(connection, "SELECT v FROM big WHERE id = 1"))
    out.attempt("read.binary", lambda: rows(connection, "SELECT v FROM big WHERE id = ?", (1,), prepared=True))
    out.section("long_data")
    out.attempt("insert.binary", lambda: run(connection, "INSERT INTO big VALUES (?, ?)", (2, value), prepared=True)["count"])
    out.attempt("equal", lambda: rows(connection, "SELECT COUNT(*), MAX(LENGTH(a.v)) FROM big a JOIN big b ON a.v = b.v"))
    out.attempt("update.binary", lambda: run(connection, "UPDATE big SET v = ? WHERE id = ?", (b"small", 2), prepared=True)["count"])
    out.attempt("after", lambda: rows(connection, "SELECT LENGTH(v) FROM big ORDER BY id"))
    run(connection, "DROP TABLE big")


def multi(connection):
    out.section("multi")
    for index, batch in enumerate((
        "SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE", "INSERT INTO beads (title) VALUES ('m1'); SELECT 5; DELETE FROM beads WHERE title = 'm1'",
        "SELECT 1; SELECT * FROM nope", "SET @m = 1; SELECT @m",
    )):
        other = connect(client_flags=[ClientFlag.MULTI_STATEMENTS, ClientFlag.MULTI_RESULTS])
        try:
            cursor = other.cursor()
            cursor.execute(batch)
            number = 0
            while True:
                out.say(f"{index}.{number}", [cursor.with_rows, cursor.rowcount, cursor.fetchall() if cursor.with_rows else None])
                number += 1
                if not cursor.nextset():
                    break
            cursor.close()
        except mysql.connector.Error as error:
            out.say(f"{index}.error", [error.errno, error.sqlstate, error.msg])
        out.attempt(f"{index}.after", lambda: rows(other, "SELECT 'alive'"))
        other.close()


def call(connection):
    out.section("call")
    for name, arguments in (("one_set", (3,)), ("two_sets", (3,)), ("out_value", (4, 0)), ("no_set", ()), ("nope", ())):
        def action():
            cursor = connection.cursor()
            try:
                returned = cursor.callproc(name, arguments)
                return [list(returned), [[columns(result), result.fetchall()] for result in cursor.stored_results()]]
            finally:
                cursor.close()
        out.attempt(name, action)


def infile(connection):
    out.section("infile")
    path = scratch("load.csv", "1,one,note 🐬\n2,two,\\N\n".encode())
    load = "LOAD DATA LOCAL INFILE '%s' INTO TABLE loaded FIELDS TERMINATED BY ','"
    out.attempt("load", lambda: run(connection, load % path)["count"])
    out.attempt("rows", lambda: rows(connection, "SELECT * FROM loaded ORDER BY id"))
    other = connect()
    out.attempt("missing", lambda: run(other, load % (path + ".missing"))["count"])
    out.attempt("after_missing", lambda: rows(other, "SELECT COUNT(*) FROM loaded"))
    other.close()
    many = b"".join(b"%d,name %d,%s\n" % (n, n, b"n" * 400) for n in range(10, 2010))
    out.attempt("many", lambda: run(connection, load % scratch("many.csv", many))["count"])
    other = connect(allow_local_infile=False)
    out.attempt("refused", lambda: run(other, load % path)["count"])
    out.attempt("after_refused", lambda: rows(other, "SELECT 'alive'"))
    other.close()


def transaction(connection):
    out.section("transaction")
    other = connect()
    count = lambda c: rows(c, "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%'")[0][0]
    state = lambda: [count(connection), count(other), connection.in_transaction, connection.autocommit]
    connection.start_transaction()
    run(connection, "INSERT INTO beads (title) VALUES ('t-1')")
    out.say("begun", state())
    connection.rollback()
    out.say("rolled_back", state())
    connection.start_transaction(consistent_snapshot=True, isolation_level="REPEATABLE READ")
    run(connection, "INSERT INTO beads (title) VALUES ('t-1')")
    connection.commit()
    out.say("committed", state())
    connection.autocommit = False
    run(connection, "INSERT INTO beads (title) VALUES ('t-2')")
    out.say("autocommit_off", state())
    connection.rollback()
    out.say("autocommit_off.rolled_back", state())
    connection.commit()
    connection.autocommit = True
    connection.start_transaction()
    for sql in ("INSERT INTO beads (title) VALUES ('t-3')", "SAVEPOINT s", "INSERT INTO beads (title) VALUES ('t-4')", "ROLLBACK TO s"):
        run(connection, sql)
        out.say(sql, state())
    connection.commit()
    connection.start_transaction(readonly=True)
    out.attempt("read_only", lambda: run(connection, "INSERT INTO beads (title) VALUES ('t-5')"))
    connection.rollback()
    out.say("end", state())
    connection.start_transaction()
    run(connection, "UPDATE beads SET points = 1 WHERE title = 't-1'")
    run(other, "UPDATE beads SET points = 2 WHERE title = 't-1'")
    out.attempt("conflict", connection.commit)
    other.close()


def error(connection):
    out.section("error")
    run(connection, "INSERT INTO beads (title) VALUES ('unique')")
    for sql in ("INSERT INTO beads (title) VALUES ('unique')", "SELECT * FROM nope", "SELEC 1", "USE nope",
                "SELECT nope FROM beads", "INSERT INTO beads (title) VALUES (NULL)", "INSERT INTO types (id, c_tinyint) VALUES (99, 1000)"):
        out.attempt(sql, lambda: run(connection, sql))
        connection.rollback()
    out.attempt("login.password", lambda: connect(password="wrong"))
    out.attempt("login.user", lambda: connect(user="nobody_here"))
    out.attempt("login.database", lambda: connect(database="nope"))
    out.attempt("after", lambda: rows(connection, "SELECT 1"))


def cancel(connection):
    out.section("cancel")
    for name, identify in (("greeting_id", lambda c: c.connection_id),
                           ("connection_id", lambda c: rows(c, "SELECT CONNECTION_ID()")[0][0])):
        victim = connect()
        number = identify(victim)
        marker = f"{Server.database} {name}"
        outcome = {}

        def sleep():
            try:
                outcome["rows"] = rows(victim, f"SELECT SLEEP(20) /* {marker} */")
            except mysql.connector.Error as problem:
                outcome["error"] = [problem.errno, problem.sqlstate, problem.msg]

        thread = threading.Thread(target=sleep)
        thread.start()
        while not any(marker in str(row[7]) for row in rows(connection, "SHOW FULL PROCESSLIST")):
            pass
        out.attempt(f"{name}.kill", lambda: run(connection, f"KILL QUERY {number}")["count"])
        thread.join()
        out.say(f"{name}.outcome", outcome)
        out.attempt(f"{name}.after", lambda: rows(victim, "SELECT 'alive'"))
        victim.close()


def cursor(connection):
    out.section("cursor")
    read = connection.cursor(buffered=False)
    read.execute("SELECT d FROM digits ORDER BY d")
    out.say("unbuffered", [read.fetchone(), read.fetchmany(3), read.fetchall()])
    read.close()
    read = connection.cursor(prepared=True)
    read.execute("SELECT d FROM digits ORDER BY d")
    out.say("prepared", [read.fetchone(), read.fetchmany(3), read.fetchall()])
    read.close()
    # The driver's own low-level calls: CURSOR_TYPE_READ_ONLY, then COM_STMT_FETCH until it is empty.
    statement = connection.cmd_stmt_prepare(b"SELECT d FROM digits WHERE d >= ? ORDER BY d")
    result = connection.cmd_stmt_execute(statement["statement_id"], ((3,)), statement["parameters"], 1)
    out.say("read_only.execute", [len(result[1]), str(result[2].get("status_flag"))] if isinstance(result, tuple) else str(result))
    fetched = []
    for _ in range(6):
        connection.cmd_stmt_fetch(statement["statement_id"], 2)
        got, end = connection.get_rows(binary=True, columns=result[1])
        fetched.append([got, end and end["status_flag"]])
        if end and end["status_flag"] & 0x80:
            break
    out.say("read_only.fetched", fetched)
    connection.cmd_stmt_reset(statement["statement_id"])
    connection.cmd_stmt_close(statement["statement_id"])
    out.attempt("read_only.after", lambda: rows(connection, "SELECT 1"))


def counts(connection):
    out.section("counts")
    changed = connect(client_flags=[-ClientFlag.FOUND_ROWS])
    found = connect(client_flags=[ClientFlag.FOUND_ROWS])
    for name, client in (("changed", changed), ("found", found)):
        for sql in (f"INSERT INTO beads (title) VALUES ('{name}-a'), ('{name}-b')", f"UPDATE beads SET points = 1 WHERE title LIKE '{name}%'",
                    f"UPDATE beads SET points = 1 WHERE title LIKE '{name}%'", f"REPLACE INTO beads (title, points) VALUES ('{name}-a', 8)",
                    "DELETE FROM beads WHERE id < 0", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()"):
            out.attempt(f"{name}.{sql}", lambda: run(client, sql))
        client.close()
    warned = connect(get_warnings=True)
    for sql in ("SELECT 1 / 0", "SELECT CAST('x' AS SIGNED)", "DROP TABLE IF EXISTS nope"):
        reading = warned.cursor()
        reading.execute(sql)
        fetched = reading.fetchall() if reading.with_rows else None
        out.say(f"warnings.{sql}", [fetched, reading.warning_count, reading.warnings])
        reading.close()
        warned.rollback()
    warned.close()


def charset(connection):
    out.section("charset")
    for number, word in enumerate(WORDS):
        run(connection, "INSERT INTO words VALUES (%s, %s)", (number, word))
        out.attempt(str(number), lambda: rows(connection, "SELECT w, HEX(w) FROM words WHERE id = ?", (number,), prepared=True))
    other = connect()
    for name, collation in (("utf8mb4", "utf8mb4_bin"), ("utf8mb4", "utf8mb4_0900_ai_ci"), ("latin1", None)):
        out.attempt(f"set.{name}.{collation}", lambda: other.set_charset_collation(name, collation))
        out.attempt(f"get.{name}.{collation}", lambda: rows(other, "SELECT @@character_set_client, @@collation_connection"))
    other.close()


def session(connection):
    out.section("session")
    where = lambda c: rows(c, "SELECT DATABASE(), active_branch()")
    other = connect()
    run(other, "CALL DOLT_BRANCH('side')")
    out.attempt("init_db", lambda: other.cmd_init_db(Server.database + "/side") and None)
    out.say("init_db.where", where(other))
    out.attempt("init_db.nope", lambda: other.cmd_init_db("nope") and None)
    run(other, f"USE `{Server.database}`")
    out.say("use.where", where(other))
    run(other, "SET @v = 'kept', @@session.sql_mode = 'ANSI_QUOTES'")
    out.attempt("reset", lambda: other.cmd_reset_connection())
    out.attempt("reset.after", lambda: rows(other, "SELECT @v, @@sql_mode, DATABASE()"))
    out.attempt("reset_session", lambda: other.reset_session({"x": "y"}, {"sql_mode": "ANSI"}))
    out.attempt("reset_session.after", lambda: rows(other, "SELECT @x, @@sql_mode, DATABASE()"))
    out.attempt("change_user", lambda: other.cmd_change_user(Server.user, Server.password, Server.database))
    other.close()
    for name in ("cmd_statistics", "cmd_process_info", "cmd_debug"):
        other = connect()
        out.attempt(name, lambda: str(getattr(other, name)()))
        out.attempt(name + ".after", lambda: rows(other, "SELECT 'alive'"))
        other.close()
    other = connect(database=Server.database + "/side")
    out.say("handshake.branch", where(other))
    other.close()


def dolt(connection):
    out.section("dolt")
    other = connect()
    for sql in ("CALL DOLT_COMMIT('-Am', 'tables')", "CALL DOLT_BRANCH('work')", "CALL DOLT_CHECKOUT('work')", "SELECT DATABASE(), active_branch()",
                "INSERT INTO beads (title) VALUES ('on work')", "CALL DOLT_COMMIT('-am', 'from work')",
                "CALL DOLT_COMMIT('-m', 'nothing')", "CALL DOLT_CHECKOUT('main')", "SELECT COUNT(*) FROM beads WHERE title = 'on work'",
                "SELECT name FROM dolt_branches ORDER BY name"):
        out.attempt(sql, lambda: mask_hashes(rows(other, sql)))
        out.attempt(f"{sql}.prepared", lambda: mask_hashes(rows(other, sql, prepared=True)))
    other.close()


def wide(connection):
    out.section("wide")
    select = "SELECT " + ", ".join(("NULL" if n % 3 == 0 else str(n) if n % 3 == 1 else f"'v{n}'") + f" AS c{n}" for n in range(500))
    out.attempt("text", lambda: rows(connection, select))
    out.attempt("binary", lambda: rows(connection, select, prepared=True))
    out.attempt("parameters", lambda: rows(connection, "SELECT " + ", ".join(["?"] * 500), tuple(range(500)), prepared=True))


def stream(connection):
    out.section("stream")
    for name, options in (("text", {}), ("binary", {"prepared": True})):
        total, hashed = 0, hashlib.sha1()
        reading = connection.cursor(**options)
        reading.execute(shared("stream.sql")[0])
        for row in reading:
            total += 1
            hashed.update(repr(row).encode())
        reading.close()
        out.say(name, [total, hashed.hexdigest()])


def main():
    connection = connect()
    out.section("connect")
    for sql in shared("schema.sql") + shared("types.sql"):
        out.attempt(sql[:40], lambda: run(connection, sql)["count"])
    for section in (query, types, prepared, large, multi, call, infile, transaction, error, cancel, cursor, counts, charset,
                    dolt, session, wide, stream):
        section(connection)
    out.section("pipeline")
    out.not_offered("all")
    connection.close()
    out.end()


main()
