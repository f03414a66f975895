import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;

/** What every section uses: the transcript, connections, and results as text. */
class Harness {
    static final int MIB = 1 << 20;
    static final String DATABASE = System.getenv("BL_DATABASE");
    static final String SCRATCH = System.getenv("BL_SCRATCH");
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static String section = "";
    static int checks = 0;

    interface Action {
        Object run() throws Exception;
    }

    interface Part {
        void run(Connection connection) throws Exception;
    }

    static void say(String name, Object value) {
        checks++;
        String line = section + "." + name + ": " + plain(value);
        OUT.println(line.replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0").replace(SCRATCH, "<scratch>").replace(DATABASE, "<db>"));
    }

    static void notOffered(String what) {
        OUT.println("not offered by this client: " + section + "." + what);
    }

    static void attempt(String name, Action action) {
        try {
            say(name, action.run());
        } catch (SQLException error) {
            say(name, describe(error));
        } catch (Exception error) {
            say(name, error.getClass().getSimpleName() + " " + error.getMessage());
        }
    }

    static List<Object> describe(SQLException error) {
        // The driver appends a stack trace to some of its own errors: the first line is the message.
        String message = String.valueOf(error.getMessage()).split("\n")[0];
        return Arrays.asList("error", error.getClass().getSimpleName(), error.getErrorCode(), error.getSQLState(), message);
    }

    static String plain(Object value) {
        if (value instanceof byte[] bytes) {
            return bytes.length > 256 ? "bytes of " + bytes.length + " sha1 " + sha1(bytes) : "bytes " + HexFormat.of().formatHex(bytes);
        }
        if (value instanceof List<?> list) {
            return list.stream().map(Harness::plain).collect(Collectors.joining(", ", "[", "]"));
        }
        if (value instanceof int[] numbers) {
            return Arrays.toString(numbers);
        }
        return value == null ? "null" : value.getClass().getSimpleName() + " " + value;
    }

    static String sha1(byte[] data) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(data));
        } catch (java.security.NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    static String maskHashes(Object value) {
        return plain(value).replaceAll("\\b[0-9a-v]{32}\\b", "<hash>");
    }

    static Connection open(String... settings) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(Map.of("user", System.getenv("BL_USER"), "password", System.getenv("BL_PASSWORD"), "sslMode", "DISABLED",
            "allowPublicKeyRetrieval", "true", "allowMultiQueries", "true", "allowLoadLocalInfile", "true", "characterEncoding", "UTF-8",
            "connectionTimeZone", "UTC", "maxAllowedPacket", String.valueOf(64 * MIB), "yearIsDateType", "false"));
        String database = DATABASE;
        for (int i = 0; i < settings.length; i += 2) {
            if (settings[i].equals("database")) {
                database = settings[i + 1];
            } else {
                properties.setProperty(settings[i], settings[i + 1]);
            }
        }
        String path = java.net.URLEncoder.encode(database, StandardCharsets.UTF_8);
        return DriverManager.getConnection("jdbc:mysql://" + System.getenv("BL_HOST") + ":" + System.getenv("BL_PORT") + "/" + path, properties);
    }

    static List<Object> columns(ResultSetMetaData meta) throws SQLException {
        List<Object> found = new ArrayList<>();
        for (int i = 1; i <= meta.getColumnCount(); i++) {
            found.add(column(meta, i));
        }
        return found;
    }

    /** Everything that JDBC tells about a column. */
    static List<Object> column(ResultSetMetaData meta, int i) throws SQLException {
        String className;
        try {
            className = meta.getColumnClassName(i);
        } catch (SQLException error) {
            className = error.getMessage();
        }
        return Arrays.asList(meta.getCatalogName(i), meta.getTableName(i), meta.getColumnLabel(i), meta.getColumnName(i), meta.getColumnType(i),
            meta.getColumnTypeName(i), className, meta.getPrecision(i), meta.getScale(i), meta.getColumnDisplaySize(i), meta.isNullable(i),
            meta.isSigned(i), meta.isAutoIncrement(i), meta.isCaseSensitive(i));
    }

    static List<Object> read(ResultSet rows) throws SQLException {
        List<Object> found = new ArrayList<>();
        int width = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= width; i++) {
                try {
                    row.add(rows.getObject(i));
                } catch (SQLException error) {
                    row.add(describe(error));
                }
            }
            found.add(row);
        }
        return found;
    }

    /** All results of one statement: rows, or affected rows and generated keys. */
    static List<Object> results(Statement statement, boolean isRows) throws SQLException {
        List<Object> found = new ArrayList<>();
        while (true) {
            if (isRows) {
                try (ResultSet rows = statement.getResultSet()) {
                    found.add(read(rows));
                }
            } else if (statement.getLargeUpdateCount() == -1) {
                return found;
            } else {
                found.add(statement.getLargeUpdateCount());
            }
            isRows = statement.getMoreResults();
        }
    }

    static List<Object> run(Connection c, String sql) throws SQLException {
        try (Statement statement = c.createStatement()) {
            return results(statement, statement.execute(sql));
        }
    }

    static List<Object> execute(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            return results(statement, statement.execute());
        }
    }

    static List<String> shared(String name) throws Exception {
        return Files.readAllLines(Path.of(System.getenv("BL_SHARED"), name));
    }
}
