import com.mysql.cj.jdbc.JdbcConnection;
import com.mysql.cj.jdbc.JdbcStatement;
import java.io.ByteArrayInputStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Connector/J: text and server-prepared statements, cursor fetch, long data, cancel by its own second connection. */
public final class Client extends Harness {
    private static void query(Connection c) throws Exception {
        section = "query";
        for (String sql : List.of("SELECT 1", "SELECT NULL, '', 0", "SELECT 1 WHERE FALSE", "SET @a = 5", "SELECT @a", ";", "-- nothing", "SELECT * FROM beads",
            "SHOW TABLES", "SELECT \"q\" AS `we``ird`", "SELECT CURRENT_USER(), DATABASE(), active_branch()", "SELECT 1 AS a, 2 AS a")) {
            attempt(sql, () -> run(c, sql));
        }
        attempt("ping", () -> c.isValid(60));
        attempt("product", () -> Arrays.asList(c.getMetaData().getDatabaseProductName(), c.getMetaData().getDatabaseProductVersion(), c.getCatalog()));
        attempt("isolation", () -> c.getTransactionIsolation());
        attempt("tables", () -> {
            try (ResultSet rows = c.getMetaData().getTables(DATABASE, null, "b%", new String[] {"TABLE"})) {
                return read(rows);
            }
        });
        attempt("columns", () -> {
            try (ResultSet rows = c.getMetaData().getColumns(DATABASE, null, "beads", null)) {
                return read(rows);
            }
        });
        attempt("primary_keys", () -> {
            try (ResultSet rows = c.getMetaData().getPrimaryKeys(DATABASE, null, "beads")) {
                return read(rows);
            }
        });
    }

    private static void types(Connection ignored) throws Exception {
        for (boolean binary : new boolean[] {false, true}) {
            section = binary ? "types_binary" : "types_text";
            try (Connection c = open("useServerPrepStmts", String.valueOf(binary))) {
                for (String table : List.of("types", "bits", "shapes", "vectors")) {
                    try (PreparedStatement statement = c.prepareStatement("SELECT * FROM " + table + " WHERE id > ? ORDER BY id")) {
                        statement.setInt(1, 0);
                        ResultSet rows = statement.executeQuery();
                        ResultSetMetaData meta = rows.getMetaData();
                        for (int i = 1; i <= meta.getColumnCount(); i++) {
                            say(table + ".column." + meta.getColumnName(i), column(meta, i));
                        }
                        while (rows.next()) {
                            for (int i = 1; i <= meta.getColumnCount(); i++) {
                                int index = i;
                                String name = table + "." + rows.getInt(1) + "." + meta.getColumnName(i);
                                attempt(name, () -> rows.getObject(index));
                                attempt(name + ".bytes", () -> rows.getBytes(index));
                                attempt(name + ".string", () -> rows.getString(index));
                            }
                        }
                    } catch (SQLException error) {
                        say(table + ".error", describe(error));
                    }
                }
            }
        }
    }

    private static void prepared(Connection ignored) throws Exception {
        section = "prepared";
        try (Connection c = open("useServerPrepStmts", "true")) {
            for (Object value : new Object[] {1, -1L, Long.MAX_VALUE, new BigInteger("18446744073709551615"), 1.5, 0.1f, new BigDecimal("12.50"), "text 🐬", "",
                new byte[] {0, (byte) 255}, true, LocalDateTime.of(2024, 2, 29, 12, 34, 56, 789_012_000)}) {
                attempt(plain(value), () -> {
                    try (PreparedStatement statement = c.prepareStatement("SELECT ?")) {
                        statement.setObject(1, value);
                        ResultSet rows = statement.executeQuery();
                        return Arrays.asList(columns(rows.getMetaData()), read(rows));
                    }
                });
            }
            attempt("null", () -> {
                try (PreparedStatement statement = c.prepareStatement("SELECT ?")) {
                    statement.setNull(1, Types.VARCHAR);
                    return read(statement.executeQuery());
                }
            });
            try (PreparedStatement statement = c.prepareStatement("SELECT ? + 1")) {
                long total = 0;
                for (int number = 0; number < 100; number++) {
                    statement.setInt(1, number);
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    total += rows.getLong(1);
                }
                say("hundred", total);
                say("kind", statement.getClass().getSimpleName());
            }
            for (int round = 0; round < 2; round++) {
                attempt("again." + round, () -> execute(c, "SELECT d FROM digits WHERE d > ? ORDER BY d", 6));
            }
            attempt("wrong", () -> execute(c, "SELECT * FROM nope WHERE id = ?", 1));
            attempt("syntax", () -> execute(c, "SELEC ?", 1));
            attempt("insert", () -> {
                try (PreparedStatement statement = c.prepareStatement("INSERT INTO beads (title, points) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                    statement.setString(1, "prepared");
                    statement.setInt(2, 3);
                    return Arrays.asList(statement.executeUpdate(), read(statement.getGeneratedKeys()));
                }
            });
            attempt("duplicate", () -> execute(c, "INSERT INTO beads (title, points) VALUES (?, ?)", "prepared", 3));
            run(c, "ROLLBACK");
            attempt("update", () -> execute(c, "UPDATE beads SET points = ? WHERE title = ?", 4, "prepared"));
            attempt("zero_rows", () -> execute(c, "SELECT * FROM beads WHERE id < ?", 0));
            attempt("batch", () -> {
                try (PreparedStatement statement = c.prepareStatement("INSERT INTO loaded (id, name) VALUES (?, ?)")) {
                    for (int number = 100; number < 105; number++) {
                        statement.setInt(1, number);
                        statement.setString(2, "batch " + number);
                        statement.addBatch();
                    }
                    return statement.executeBatch();
                }
            });
            attempt("metadata", () -> {
                try (PreparedStatement statement = c.prepareStatement("SELECT id, title FROM beads WHERE id = ?")) {
                    return Arrays.asList(statement.getParameterMetaData().getParameterCount(), columns(statement.getMetaData()));
                }
            });
        }
    }

    private static void large(Connection c) throws Exception {
        section = "large";
        byte[] block = MessageDigest.getInstance("SHA-512").digest("branchline".getBytes(StandardCharsets.UTF_8));
        byte[] value = new byte[20 * MIB];
        for (int at = 0; at < value.length; at += block.length) {
            System.arraycopy(block, 0, value, at, block.length);
        }
        attempt("insert.text", () -> execute(c, "INSERT INTO big VALUES (?, ?)", 1, value));
        attempt("read.text", () -> run(c, "SELECT v FROM big WHERE id = 1"));
        try (Connection server = open("useServerPrepStmts", "true")) {
            attempt("read.binary", () -> execute(server, "SELECT v FROM big WHERE id = ?", 1));
            section = "long_data";
            attempt("insert", () -> {
                try (PreparedStatement statement = server.prepareStatement("INSERT INTO big VALUES (?, ?)")) {
                    statement.setInt(1, 2);
                    statement.setBinaryStream(2, new ByteArrayInputStream(value), value.length);
                    return statement.executeUpdate();
                }
            });
            attempt("equal", () -> run(c, "SELECT COUNT(*) FROM big a JOIN big b ON a.v = b.v"));
            attempt("update", () -> {
                try (PreparedStatement statement = server.prepareStatement("UPDATE big SET v = ? WHERE id = ?")) {
                    statement.setBinaryStream(1, new ByteArrayInputStream(new byte[] {1, 2, 3}));
                    statement.setInt(2, 2);
                    return statement.executeUpdate();
                }
            });
            attempt("after", () -> run(server, "SELECT LENGTH(v) FROM big ORDER BY id"));
        }
        run(c, "DROP TABLE big");
    }

    private static void multi(Connection c) throws Exception {
        section = "multi";
        for (String batch : List.of("SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE", "INSERT INTO beads (title) VALUES ('m1'); SELECT 5; DELETE FROM beads WHERE title = 'm1'",
            "SELECT 1; SELECT * FROM nope", "SET @m = 1; SELECT @m")) {
            try (Connection own = open()) {
                attempt(batch, () -> run(own, batch));
                attempt(batch + ".after", () -> run(own, "SELECT 'alive'"));
            }
        }
        try (Connection own = open("rewriteBatchedStatements", "true")) {
            attempt("batch", () -> {
                try (Statement statement = own.createStatement()) {
                    for (int n = 0; n < 6; n++) {
                        statement.addBatch("INSERT INTO beads (title) VALUES ('batch-" + n + "')");
                    }
                    return statement.executeBatch();
                }
            });
            attempt("batch.count", () -> run(own, "SELECT COUNT(*) FROM beads WHERE title LIKE 'batch-%'"));
        }
    }

    private static void call(Connection c) throws Exception {
        section = "call";
        for (String sql : List.of("CALL one_set(3)", "CALL two_sets(3)", "CALL no_set()", "CALL nope()", "CALL one_set()")) {
            attempt(sql, () -> run(c, sql));
        }
        attempt("callable", () -> {
            try (CallableStatement statement = c.prepareCall("{CALL one_set(?)}")) {
                statement.setInt(1, 3);
                return read(statement.executeQuery());
            }
        });
        attempt("callable.out", () -> {
            try (CallableStatement statement = c.prepareCall("{CALL out_value(?, ?)}")) {
                statement.setInt(1, 4);
                statement.registerOutParameter(2, Types.INTEGER);
                statement.execute();
                return statement.getInt(2);
            }
        });
    }

    private static void infile(Connection c) throws Exception {
        section = "infile";
        Path file = Path.of(SCRATCH, "load.csv");
        Files.writeString(file, "1,one,note 🐬\n2,two,\\N\n");
        String load = "LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE loaded FIELDS TERMINATED BY ','";
        attempt("load", () -> run(c, load));
        attempt("rows", () -> run(c, "SELECT * FROM loaded WHERE id < 100 ORDER BY id"));
        try (Connection other = open()) {
            attempt("missing", () -> run(other, load.replace("load.csv", "missing.csv")));
            attempt("after_missing", () -> run(other, "SELECT COUNT(*) FROM loaded"));
        }
        String many = IntStream.range(1000, 4000).mapToObj(n -> n + ",name " + n + "," + "n".repeat(400) + "\n").collect(Collectors.joining());
        attempt("many", () -> {
            try (Statement statement = c.createStatement()) {
                ((JdbcStatement) statement).setLocalInfileInputStream(new ByteArrayInputStream(many.getBytes(StandardCharsets.UTF_8)));
                return statement.executeUpdate(load);
            }
        });
        attempt("many_rows", () -> run(c, "SELECT COUNT(*), SUM(id) FROM loaded"));
        attempt("wrong_table", () -> run(c, load.replace("TABLE loaded", "TABLE nope")));
        attempt("after_wrong_table", () -> run(c, "SELECT 'alive'"));
        try (Connection refusing = open("allowLoadLocalInfile", "false")) {
            attempt("refused", () -> run(refusing, load));
            attempt("after_refused", () -> run(refusing, "SELECT 'alive'"));
        }
    }

    private static void transaction(Connection c) throws Exception {
        section = "transaction";
        try (Connection other = open()) {
            String count = "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%'";
            Action counts = () -> Arrays.asList(run(c, count), run(other, count), c.getAutoCommit());
            c.setAutoCommit(false);
            run(c, "INSERT INTO beads (title) VALUES ('t-1')");
            attempt("begun", counts);
            c.rollback();
            attempt("rolled_back", counts);
            run(c, "INSERT INTO beads (title) VALUES ('t-1')");
            Savepoint savepoint = c.setSavepoint("s");
            run(c, "INSERT INTO beads (title) VALUES ('t-2')");
            c.rollback(savepoint);
            attempt("savepoint", counts);
            attempt("duplicate", () -> run(c, "INSERT INTO beads (title) VALUES ('t-1')"));
            c.commit();
            attempt("committed", counts);
            c.setAutoCommit(true);
            attempt("autocommit", counts);
            c.setReadOnly(true);
            attempt("read_only", () -> run(c, "INSERT INTO beads (title) VALUES ('t-3')"));
            c.setReadOnly(false);
            for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_REPEATABLE_READ}) {
                attempt("isolation." + level, () -> {
                    c.setTransactionIsolation(level);
                    return c.getTransactionIsolation();
                });
            }
            c.setAutoCommit(false);
            run(c, "UPDATE beads SET points = 1 WHERE title = 't-1'");
            run(other, "UPDATE beads SET points = 2 WHERE title = 't-1'");
            attempt("conflict", () -> {
                c.commit();
                return "committed";
            });
            c.rollback();
            c.setAutoCommit(true);
        }
    }

    private static void error(Connection c) throws Exception {
        section = "error";
        run(c, "INSERT INTO beads (title) VALUES ('unique')");
        for (String sql : List.of("INSERT INTO beads (title) VALUES ('unique')", "SELECT * FROM nope", "SELEC 1", "USE nope", "SELECT nope FROM beads",
            "INSERT INTO beads (title) VALUES (NULL)", "INSERT INTO types (id, c_tinyint) VALUES (99, 1000)")) {
            attempt(sql, () -> run(c, sql));
            run(c, "ROLLBACK");
        }
        attempt("login.password", () -> open("password", "wrong"));
        attempt("login.user", () -> open("user", "nobody_here"));
        attempt("login.database", () -> open("database", "nope"));
        attempt("login.branch", () -> open("database", DATABASE + "/nope"));
        attempt("after", () -> run(c, "SELECT 1"));
    }

    private static void cancel(Connection c) throws Exception {
        section = "cancel";
        try (Connection victim = open()) {
            for (String name : List.of("driver", "greeting_id", "connection_id")) {
                String marker = DATABASE + " " + name;
                try (Statement statement = victim.createStatement()) {
                    Object id = name.equals("greeting_id") ? ((JdbcConnection) victim).getSession().getThreadId()
                        : ((List<?>) ((List<?>) run(victim, "SELECT CONNECTION_ID()").get(0)).get(0)).get(0);
                    List<Object> outcome = new ArrayList<>();
                    Thread sleeping = new Thread(() -> {
                        try {
                            statement.execute("SELECT SLEEP(20) /* " + marker + " */");
                            outcome.add("not cancelled");
                        } catch (SQLException error) {
                            outcome.add(describe(error));
                        }
                    });
                    sleeping.start();
                    while (!plain(run(c, "SHOW FULL PROCESSLIST")).contains(marker)) {
                        Thread.onSpinWait();
                    }
                    if (name.equals("driver")) {
                        statement.cancel(); // Connector/J opens a second connection and sends KILL QUERY with the greeting's id
                    } else {
                        attempt(name + ".kill", () -> run(c, "KILL QUERY " + id));
                    }
                    sleeping.join();
                    say(name + ".outcome", name.equals("driver") ? outcome.stream().map(Client::cancelled).toList() : outcome);
                }
                attempt(name + ".after", () -> run(victim, "SELECT 'alive'"));
            }
            attempt("timeout", () -> {
                try (Statement statement = victim.createStatement()) {
                    statement.setQueryTimeout(1);
                    return results(statement, statement.execute("SELECT SLEEP(20)"));
                }
            });
            attempt("timeout.after", () -> run(victim, "SELECT 'alive'"));
        }
    }

    /** The driver notes that it cancelled after its KILL was answered: the statement's own error may come before that. */
    private static Object cancelled(Object outcome) {
        String text = plain(outcome);
        return text.contains("MySQLStatementCancelledException") || text.contains("context canceled") ? "cancelled" : outcome;
    }

    private static void cursor(Connection ignored) throws Exception {
        section = "cursor";
        try (Connection c = open("useCursorFetch", "true", "useServerPrepStmts", "true", "defaultFetchSize", "3")) {
            attempt("digits", () -> execute(c, "SELECT d FROM digits WHERE d >= ? ORDER BY d", 0));
            attempt("empty", () -> execute(c, "SELECT d FROM digits WHERE d > ?", 100));
            attempt("exactly", () -> execute(c, "SELECT d FROM digits WHERE d < ? ORDER BY d", 3));
            attempt("statement", () -> run(c, "SELECT d FROM digits ORDER BY d"));
            attempt("update", () -> execute(c, "UPDATE beads SET points = ? WHERE id < 0", 1));
            attempt("error", () -> execute(c, "SELECT * FROM nope"));
            attempt("abandoned", () -> {
                try (PreparedStatement statement = c.prepareStatement("SELECT d FROM digits ORDER BY d")) {
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    return rows.getInt(1);
                }
            });
            attempt("after_abandoned", () -> run(c, "SELECT 'alive'"));
            c.setAutoCommit(false);
            attempt("in_transaction", () -> execute(c, "SELECT d FROM digits ORDER BY d"));
            c.commit();
            attempt("types", () -> execute(c, "SELECT * FROM types ORDER BY id"));
        }
        // Dolt has one cursor per connection and drops a connection that executes another statement meanwhile:
        // that it fails is what there is to compare, not how.
        try (Connection c = open("useCursorFetch", "true", "useServerPrepStmts", "true", "defaultFetchSize", "3")) {
            attempt("two_at_once", () -> {
                try (PreparedStatement one = c.prepareStatement("SELECT d FROM digits ORDER BY d");
                    PreparedStatement two = c.prepareStatement("SELECT d FROM digits ORDER BY d DESC")) {
                    ResultSet up = one.executeQuery();
                    up.next();
                    return read(two.executeQuery());
                } catch (SQLException expected) {
                    return "failed";
                }
            });
        } catch (SQLException closing) {
            // Closing a connection that the server has dropped is an error again, of no interest here.
        }
        try (Connection c = open("useCursorFetch", "true", "defaultFetchSize", "1000")) {
            section = "stream";
            attempt("cursor", () -> drain(c, 1000));
        }
    }

    private static List<Object> drain(Connection c, int fetchSize) throws Exception {
        try (PreparedStatement statement = c.prepareStatement(shared("stream.sql").get(0), ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
            statement.setFetchSize(fetchSize);
            MessageDigest hash = MessageDigest.getInstance("SHA-1");
            ResultSet rows = statement.executeQuery();
            int total = 0;
            while (rows.next()) {
                hash.update((rows.getLong(1) + "|" + rows.getString(2) + "|" + rows.getString(3) + "\n").getBytes(StandardCharsets.UTF_8));
                total++;
            }
            return Arrays.asList(total, HexFormat.of().formatHex(hash.digest()));
        }
    }

    private static void counts(Connection ignored) throws Exception {
        section = "counts";
        for (String affected : List.of("false", "true")) {
            try (Connection c = open("useAffectedRows", affected)) {
                for (String sql : List.of("INSERT INTO beads (title) VALUES ('" + affected + "-a'), ('" + affected + "-b')",
                    "UPDATE beads SET points = 1 WHERE title LIKE '" + affected + "%'", "UPDATE beads SET points = 1 WHERE title LIKE '" + affected + "%'",
                    "REPLACE INTO beads (title, points) VALUES ('" + affected + "-a', 8)", "DELETE FROM beads WHERE id < 0", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()",
                    "SELECT LAST_INSERT_ID()")) {
                    attempt(affected + "." + sql, () -> run(c, sql));
                }
                attempt(affected + ".warnings", () -> {
                    try (Statement statement = c.createStatement()) {
                        statement.execute("SELECT 1 / 0");
                        List<Object> found = new ArrayList<>();
                        for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
                            found.add(Arrays.asList(warning.getErrorCode(), warning.getSQLState(), warning.getMessage()));
                        }
                        return found;
                    }
                });
                run(c, "ROLLBACK");
            }
        }
    }

    private static void charset(Connection c) throws Exception {
        section = "charset";
        List<String> words = List.of("naïve", "日本語", "🐬🚀", "", "a\u0300");
        for (int i = 0; i < words.size(); i++) {
            int number = i;
            attempt(i + ".insert", () -> execute(c, "INSERT INTO words VALUES (?, ?)", number, words.get(number)));
            attempt(i + ".read", () -> execute(c, "SELECT w, HEX(w) FROM words WHERE id = ?", number));
        }
        for (String collation : List.of("utf8mb4_bin", "utf8mb4_0900_ai_ci", "latin1_swedish_ci")) {
            attempt(collation, () -> {
                try (Connection other = open("connectionCollation", collation)) {
                    return run(other, "SELECT @@character_set_client, @@collation_connection, @@character_set_results");
                }
            });
        }
    }

    private static void dolt(Connection ignored) throws Exception {
        section = "dolt";
        try (Connection c = open("useServerPrepStmts", "true")) {
            for (String sql : List.of("CALL DOLT_COMMIT('-Am', 'tables')", "CALL DOLT_BRANCH('work')", "CALL DOLT_CHECKOUT('work')", "SELECT DATABASE(), active_branch()",
                "INSERT INTO beads (title) VALUES ('on work')", "CALL DOLT_COMMIT('-am', 'from work')", "CALL DOLT_COMMIT('-m', 'nothing')")) {
                attempt(sql, () -> maskHashes(run(c, sql)));
            }
            attempt("prepared", () -> maskHashes(execute(c, "CALL DOLT_COMMIT('--allow-empty', '-m', ?)", "empty")));
            attempt("checkout", () -> execute(c, "CALL DOLT_CHECKOUT(?)", "main"));
            attempt("main", () -> execute(c, "SELECT COUNT(*) FROM beads WHERE title = ?", "on work"));
        }
    }

    private static void session(Connection ignored) throws Exception {
        section = "session";
        String where = "SELECT DATABASE(), active_branch(), @v";
        try (Connection c = open()) {
            run(c, "CALL DOLT_BRANCH('side')");
            for (String name : List.of(DATABASE + "/side", DATABASE, "information_schema", DATABASE + "/main", "nope")) {
                attempt("catalog." + name, () -> {
                    c.setCatalog(name);
                    return run(c, where);
                });
            }
            run(c, "SET @v = 'kept'");
            attempt("variable", () -> run(c, where));
            attempt("reset", () -> {
                ((JdbcConnection) c).resetServerState();
                return run(c, where);
            });
        }
        try (Connection c = open()) {
            attempt("change_user", () -> {
                ((JdbcConnection) c).changeUser(System.getenv("BL_USER"), System.getenv("BL_PASSWORD"));
                return "changed";
            });
        }
        attempt("handshake.branch", () -> {
            try (Connection branch = open("database", DATABASE + "/side")) {
                return run(branch, where);
            }
        });
        attempt("handshake.none", () -> {
            try (Connection none = open("database", "")) {
                return run(none, where);
            }
        });
        attempt("handshake.variables", () -> {
            try (Connection variables = open("sessionVariables", "sql_mode='ANSI_QUOTES',time_zone='+02:00'")) {
                return run(variables, "SELECT @@sql_mode, @@time_zone");
            }
        });
    }

    private static void wide(Connection c) throws Exception {
        section = "wide";
        String select = IntStream.range(0, 500).mapToObj(n -> (n % 3 == 0 ? "NULL" : n % 3 == 1 ? String.valueOf(n) : "'v" + n + "'") + " AS c" + n)
            .collect(Collectors.joining(", ", "SELECT ", ""));
        attempt("text", () -> run(c, select));
        try (Connection server = open("useServerPrepStmts", "true")) {
            attempt("binary", () -> execute(server, select));
            attempt("parameters", () -> execute(server, "SELECT " + String.join(", ", java.util.Collections.nCopies(500, "?")),
                IntStream.range(0, 500).boxed().toArray()));
        }
    }

    private static void stream(Connection c) throws Exception {
        section = "stream";
        attempt("rows", () -> drain(c, Integer.MIN_VALUE));
        section = "pipeline";
        notOffered("all");
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection c = open()) {
            section = "connect";
            List<String> statements = new ArrayList<>(shared("schema.sql"));
            statements.addAll(shared("types.sql"));
            for (String sql : statements) {
                attempt(sql.substring(0, Math.min(40, sql.length())), () -> run(c, sql));
            }
            for (Part part : List.<Part>of(Client::query, Client::types, Client::prepared, Client::large, Client::multi, Client::call, Client::infile,
                Client::transaction, Client::error, Client::cancel, Client::cursor, Client::counts, Client::charset, Client::dolt, Client::session,
                Client::wide, Client::stream)) {
                part.run(c);
            }
        }
        OUT.println("checks: " + checks);
        System.exit(0); // the driver's clean-up thread would keep the process for a moment
    }
}
