// go-sql-driver/mysql, the driver of bd: database/sql over text and binary protocol.
package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha512"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
)

const mib = 1 << 20

var (
	ctx      = context.Background()
	database = os.Getenv("BL_DATABASE")
	scratch  = os.Getenv("BL_SCRATCH")
	hashes   = regexp.MustCompile(`\b[0-9a-v]{32}\b`)
	section  string
	checks   int
)

// say writes one observation, with what differs between two runs masked.
func say(name string, value any) {
	checks++
	buffer := &bytes.Buffer{}
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		buffer.Reset()
		fmt.Fprintf(buffer, "%q\n", fmt.Sprint(value))
	}
	line := fmt.Sprintf("%s.%s: %s", section, name, buffer.String())
	line = strings.ReplaceAll(strings.ReplaceAll(line, scratch, "<scratch>"), database, "<db>")
	fmt.Print(line)
}

func notOffered(what string) {
	fmt.Printf("not offered by this client: %s.%s\n", section, what)
}

// attempt says what the action returns, or its error.
func attempt(name string, action func() (any, error)) {
	value, err := action()
	if err != nil {
		say(name, describe(err))
		return
	}
	say(name, value)
}

func describe(err error) map[string]any {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return map[string]any{"code": server.Number, "sqlstate": string(server.SQLState[:]), "message": server.Message}
	}
	return map[string]any{"error": err.Error()}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// plain shows a scanned value with its Go type.
func plain(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case []byte:
		if len(v) > 256 {
			return fmt.Sprintf("bytes of %d, sha1 %x", len(v), sha1.Sum(v))
		}
		if utf8.Valid(v) {
			return "bytes " + string(v)
		}
		return "bytes " + hex.EncodeToString(v)
	case time.Time:
		return "time " + v.Format(time.RFC3339Nano)
	default:
		return fmt.Sprintf("%T %v", v, v)
	}
}

func configuration() *mysql.Config {
	config := mysql.NewConfig()
	config.User = os.Getenv("BL_USER")
	config.Passwd = os.Getenv("BL_PASSWORD")
	config.Net = "tcp"
	config.Addr = os.Getenv("BL_HOST") + ":" + os.Getenv("BL_PORT")
	config.DBName = database
	config.MultiStatements = true
	config.MaxAllowedPacket = 64 * mib
	config.Logger = &mysql.NopLogger{}
	return config
}

// open returns a pool of one connection, so that a session is a session.
func open(change func(*mysql.Config)) *sql.DB {
	config := configuration()
	if change != nil {
		change(config)
	}
	pool := sql.OpenDB(must(mysql.NewConnector(config)))
	pool.SetMaxOpenConns(1)
	pool.SetMaxIdleConns(1)
	return pool
}

type queryer interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func read(rows *sql.Rows) ([][]any, error) {
	names := must(rows.Columns())
	found := [][]any{}
	for rows.Next() {
		values := make([]any, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return found, err
		}
		for i := range values {
			values[i] = plain(values[i])
		}
		found = append(found, values)
	}
	return found, rows.Err()
}

func rows(q queryer, text string, arguments ...any) (any, error) {
	result, err := q.QueryContext(ctx, text, arguments...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	return read(result)
}

func exec(q queryer, text string, arguments ...any) (any, error) {
	result, err := q.ExecContext(ctx, text, arguments...)
	if err != nil {
		return nil, err
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	return map[string]any{"affected": affected, "last_id": id}, nil
}

func columns(rows *sql.Rows) [][]any {
	found := [][]any{}
	for _, column := range must(rows.ColumnTypes()) {
		length, hasLength := column.Length()
		nullable, hasNullable := column.Nullable()
		precision, scale, hasDecimal := column.DecimalSize()
		found = append(found, []any{column.Name(), column.DatabaseTypeName(), column.ScanType().String(), length, hasLength, nullable, hasNullable, precision, scale, hasDecimal})
	}
	return found
}

func shared(name string) []string {
	content := must(os.ReadFile(filepath.Join(os.Getenv("BL_SHARED"), name)))
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func file(name string, content []byte) string {
	path := filepath.Join(scratch, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		panic(err)
	}
	return path
}

func bigValue() []byte {
	sum := sha512.Sum512([]byte("branchline"))
	return bytes.Repeat(sum[:], 20*mib/len(sum))
}

func connect(db *sql.DB) {
	section = "connect"
	for _, text := range append(shared("schema.sql"), shared("types.sql")...) {
		attempt(text[:min(40, len(text))], func() (any, error) { return exec(db, text) })
	}
}

func query(db *sql.DB) {
	section = "query"
	for _, text := range []string{"SELECT 1", "SELECT NULL, '', 0", "SELECT 1 WHERE FALSE", "", "-- nothing", "SELECT * FROM beads",
		"SHOW TABLES", "SELECT CURRENT_USER(), DATABASE(), active_branch()", "SELECT @@max_allowed_packet", "SELECT \"q\" AS `we``ird`"} {
		attempt(text, func() (any, error) { return rows(db, text) })
		attempt(text+".exec", func() (any, error) { return exec(db, text) })
	}
	attempt("ping", func() (any, error) { return nil, db.PingContext(ctx) })
	interpolating := open(func(c *mysql.Config) { c.InterpolateParams = true })
	defer interpolating.Close()
	attempt("interpolated", func() (any, error) {
		return rows(interpolating, "SELECT ?, ?, ?, ?", 1, nil, "it's 🐬", []byte{0, 255})
	})
}

func prepared(db *sql.DB) {
	section = "prepared"
	moment := time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)
	for _, value := range []any{1, int64(-1), int64(1<<63 - 1), uint64(1<<64 - 1), 1.5, float32(0.1), "text 🐬", []byte{0, 255}, nil, true, moment, ""} {
		attempt(fmt.Sprintf("%T %v", value, value), func() (any, error) {
			result, err := db.QueryContext(ctx, "SELECT ?", value)
			if err != nil {
				return nil, err
			}
			defer result.Close()
			described := columns(result)
			found, err := read(result)
			return []any{described, found}, err
		})
	}
	statement := must(db.Prepare("SELECT ? + 1"))
	total := 0
	for number := range 100 {
		var got int
		if err := statement.QueryRow(number).Scan(&got); err != nil {
			panic(err)
		}
		total += got
	}
	say("hundred", total)
	statement.Close()
	for round := range 2 {
		again := must(db.Prepare("SELECT d FROM digits WHERE d > ? ORDER BY d"))
		attempt(fmt.Sprintf("again.%d", round), func() (any, error) {
			result, err := again.Query(6)
			if err != nil {
				return nil, err
			}
			defer result.Close()
			return read(result)
		})
		again.Close()
	}
	attempt("wrong", func() (any, error) { return db.Prepare("SELECT * FROM nope WHERE id = ?") })
	attempt("syntax", func() (any, error) { return db.Prepare("SELEC ?") })
	attempt("insert", func() (any, error) { return exec(db, "INSERT INTO beads (title, points) VALUES (?, ?)", "prepared", 3) })
	attempt("duplicate", func() (any, error) { return exec(db, "INSERT INTO beads (title, points) VALUES (?, ?)", "prepared", 3) })
	must(db.Exec("ROLLBACK"))
	attempt("update", func() (any, error) { return exec(db, "UPDATE beads SET points = ? WHERE title = ?", 4, "prepared") })
	attempt("call", func() (any, error) { return rows(db, "CALL one_set(?)", 2) })
	attempt("zero_rows", func() (any, error) { return rows(db, "SELECT * FROM beads WHERE id < ?", 0) })
	attempt("too_few", func() (any, error) { return rows(db, "SELECT ?, ?", 1) })
	attempt("set", func() (any, error) { return exec(db, "SET @p = ?", 1) })
}

func types(db *sql.DB) {
	for _, binary := range []bool{false, true} {
		section = map[bool]string{false: "types_text", true: "types_binary"}[binary]
		for _, parse := range []bool{false, true} {
			parsing := open(func(c *mysql.Config) { c.ParseTime = parse })
			for _, table := range []string{"types", "bits", "shapes", "vectors"} {
				text, arguments := "SELECT * FROM "+table+" ORDER BY id", []any{}
				if binary {
					text, arguments = "SELECT * FROM "+table+" WHERE id > ? ORDER BY id", []any{0}
				}
				result, err := parsing.Query(text, arguments...)
				if err != nil {
					say(table+".error", describe(err))
					continue
				}
				described := columns(result)
				if !parse {
					for _, column := range described {
						say(fmt.Sprintf("%s.column.%s", table, column[0]), column)
					}
				}
				found, err := read(result)
				for number, row := range found {
					for index, value := range row {
						say(fmt.Sprintf("%s.%v.%d.%s", table, parse, number, described[index][0]), value)
					}
				}
				if err != nil {
					say(fmt.Sprintf("%s.%v.error", table, parse), describe(err))
				}
				result.Close()
			}
			parsing.Close()
		}
	}
}

func large(db *sql.DB) {
	section = "large"
	value := bigValue()
	attempt("insert", func() (any, error) { return exec(db, "INSERT INTO big VALUES (?, ?)", 1, value) })
	attempt("read.text", func() (any, error) { return rows(db, "SELECT v FROM big WHERE id = 1") })
	attempt("read.binary", func() (any, error) { return rows(db, "SELECT v FROM big WHERE id = ?", 1) })
	var back []byte
	if err := db.QueryRow("SELECT v FROM big WHERE id = ?", 1).Scan(&back); err != nil {
		panic(err)
	}
	say("equal", bytes.Equal(value, back))
	text := "SELECT LENGTH('" + strings.Repeat("x", 20*mib) + "')"
	attempt("command", func() (any, error) { return rows(db, text) })
	section = "long_data"
	// Values past the packet size go by COM_STMT_SEND_LONG_DATA: a small limit makes the driver use it.
	split := open(func(c *mysql.Config) { c.MaxAllowedPacket = mib })
	defer split.Close()
	attempt("insert", func() (any, error) { return exec(split, "INSERT INTO big VALUES (?, ?)", 2, value) })
	attempt("equal", func() (any, error) { return rows(db, "SELECT COUNT(*) FROM big a JOIN big b ON a.v = b.v") })
	attempt("update", func() (any, error) { return exec(split, "UPDATE big SET v = ? WHERE id = ?", "small", 2) })
	attempt("refused", func() (any, error) { return rows(split, text) })
	attempt("after", func() (any, error) { return rows(split, "SELECT LENGTH(v) FROM big ORDER BY id") })
	must(db.Exec("DROP TABLE big"))
}

func multi(db *sql.DB) {
	section = "multi"
	for index, batch := range []string{"SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE", "SELECT 1;",
		"INSERT INTO beads (title) VALUES ('m1'); SELECT 5; DELETE FROM beads WHERE title = 'm1'",
		"SELECT 1; SELECT * FROM nope", "SET @m = 1; SELECT @m"} {
		connection := must(open(nil).Conn(ctx))
		result, err := connection.QueryContext(ctx, batch)
		if err != nil {
			say(fmt.Sprintf("%d.error", index), describe(err))
		} else {
			for number := 0; ; number++ {
				described := columns(result)
				found, err := read(result)
				say(fmt.Sprintf("%d.%d", index, number), []any{described, found})
				if err != nil {
					say(fmt.Sprintf("%d.%d.error", index, number), describe(err))
				}
				if !result.NextResultSet() {
					break
				}
			}
			if err := result.Err(); err != nil {
				say(fmt.Sprintf("%d.error", index), describe(err))
			}
			result.Close()
		}
		attempt(fmt.Sprintf("%d.after", index), func() (any, error) { return rows(connection, "SELECT 'alive'") })
		connection.Close()
	}
	attempt("exec", func() (any, error) {
		connection := must(db.Conn(ctx))
		defer connection.Close()
		var all []int64
		err := connection.Raw(func(raw any) error {
			result, err := raw.(driver.ExecerContext).ExecContext(ctx, "INSERT INTO beads (title) VALUES ('x1'), ('x2'); UPDATE beads SET points = 9 WHERE title = 'x1'; DELETE FROM beads WHERE title LIKE 'x%'", nil)
			if err == nil {
				all = result.(mysql.Result).AllRowsAffected()
			}
			return err
		})
		return all, err
	})
}

func call(db *sql.DB) {
	section = "call"
	for _, text := range []string{"CALL one_set(3)", "CALL two_sets(3)", "CALL no_set()", "CALL nope()", "CALL one_set()"} {
		attempt(text, func() (any, error) {
			result, err := db.Query(text)
			if err != nil {
				return nil, err
			}
			defer result.Close()
			sets := []any{}
			for {
				found, err := read(result)
				if err != nil {
					return sets, err
				}
				sets = append(sets, found)
				if !result.NextResultSet() {
					return sets, result.Err()
				}
			}
		})
	}
}

func infile(db *sql.DB) {
	section = "infile"
	path := file("load.csv", []byte("1,one,note 🐬\n2,two,\\N\n"))
	mysql.RegisterLocalFile(path)
	mysql.RegisterLocalFile(path + ".missing")
	load := "LOAD DATA LOCAL INFILE '%s' INTO TABLE loaded FIELDS TERMINATED BY ','"
	attempt("load", func() (any, error) { return exec(db, fmt.Sprintf(load, path)) })
	attempt("rows", func() (any, error) { return rows(db, "SELECT * FROM loaded ORDER BY id") })
	attempt("missing", func() (any, error) { return exec(db, fmt.Sprintf(load, path+".missing")) })
	attempt("after_missing", func() (any, error) { return rows(db, "SELECT COUNT(*) FROM loaded") })
	must(db.Exec("ROLLBACK"))
	attempt("refused", func() (any, error) { return exec(db, fmt.Sprintf(load, path+".unregistered")) })
	attempt("after_refused", func() (any, error) { return rows(db, "SELECT COUNT(*) FROM loaded") })
	must(db.Exec("ROLLBACK"))
	mysql.RegisterReaderHandler("many", func() io.Reader {
		buffer := &bytes.Buffer{}
		for number := 10; number < 3010; number++ {
			fmt.Fprintf(buffer, "%d,name %d,%s\n", number, number, strings.Repeat("n", 400))
		}
		return buffer
	})
	attempt("many", func() (any, error) { return exec(db, fmt.Sprintf(load, "Reader::many")) })
	attempt("many_rows", func() (any, error) { return rows(db, "SELECT COUNT(*), SUM(id) FROM loaded") })
	mysql.RegisterReaderHandler("empty", func() io.Reader { return &bytes.Buffer{} })
	attempt("empty", func() (any, error) { return exec(db, fmt.Sprintf(load, "Reader::empty")) })
	attempt("wrong_table", func() (any, error) {
		return exec(db, strings.Replace(fmt.Sprintf(load, path), "TABLE loaded", "TABLE nope", 1))
	})
	attempt("after_wrong_table", func() (any, error) { return rows(db, "SELECT 1") })
}

func transaction(db *sql.DB) {
	section = "transaction"
	other := open(nil)
	defer other.Close()
	count := func(q queryer) any { return must(rows(q, "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%'")) }
	begin := must(db.BeginTx(ctx, nil))
	must(begin.Exec("INSERT INTO beads (title) VALUES (?)", "t-1"))
	say("begun", []any{count(begin), count(other)})
	say("rollback", begin.Rollback() == nil)
	say("rolled_back", []any{count(db), count(other)})
	begin = must(db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead}))
	must(begin.Exec("INSERT INTO beads (title) VALUES (?)", "t-1"))
	for _, text := range []string{"SAVEPOINT s", "INSERT INTO beads (title) VALUES ('t-2')", "ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s",
		"INSERT INTO beads (title) VALUES ('t-1')"} {
		attempt(text, func() (any, error) { return exec(begin, text) })
		say(text+".count", []any{count(begin), count(other)})
	}
	say("commit", begin.Commit() == nil)
	say("committed", []any{count(db), count(other)})
	begin = must(db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}))
	attempt("read_only", func() (any, error) { return exec(begin, "INSERT INTO beads (title) VALUES ('t-5')") })
	begin.Rollback()
	must(db.Exec("SET autocommit = 0"))
	must(db.Exec("INSERT INTO beads (title) VALUES ('t-6')"))
	say("autocommit_off", []any{count(db), count(other)})
	must(db.Exec("ROLLBACK"))
	must(db.Exec("SET autocommit = 1"))
	say("autocommit_on", []any{count(db), count(other)})
	begin = must(db.BeginTx(ctx, nil))
	must(begin.Exec("UPDATE beads SET points = 1 WHERE title = ?", "t-1"))
	must(other.Exec("UPDATE beads SET points = 2 WHERE title = ?", "t-1"))
	attempt("conflict", func() (any, error) { return nil, begin.Commit() })
}

func errorsSection(db *sql.DB) {
	section = "error"
	must(db.Exec("INSERT INTO beads (title) VALUES ('unique')"))
	for _, text := range []string{"INSERT INTO beads (title) VALUES ('unique')", "SELECT * FROM nope", "SELEC 1", "USE nope", "SELECT nope FROM beads",
		"INSERT INTO beads (title) VALUES (NULL)", "INSERT INTO types (id, c_tinyint) VALUES (99, 1000)"} {
		attempt(text, func() (any, error) { return exec(db, text) })
		must(db.Exec("ROLLBACK"))
	}
	for _, login := range []struct {
		name   string
		change func(*mysql.Config)
	}{
		{"password", func(c *mysql.Config) { c.Passwd = "wrong" }},
		{"no_password", func(c *mysql.Config) { c.Passwd = "" }},
		{"user", func(c *mysql.Config) { c.User = "nobody_here" }},
		{"database", func(c *mysql.Config) { c.DBName = "nope" }},
		{"branch", func(c *mysql.Config) { c.DBName = database + "/nope" }},
	} {
		refused := open(login.change)
		attempt("login."+login.name, func() (any, error) { return nil, refused.Ping() })
		refused.Close()
	}
	attempt("after", func() (any, error) { return rows(db, "SELECT 1") })
}

func cancel(db *sql.DB) {
	section = "cancel"
	victim := open(nil)
	defer victim.Close()
	var id int64
	if err := victim.QueryRow("SELECT CONNECTION_ID()").Scan(&id); err != nil {
		panic(err)
	}
	await := func(marker string) {
		for {
			listed := fmt.Sprint(must(rows(db, "SELECT info FROM information_schema.processlist")))
			if strings.Contains(listed, marker) {
				return
			}
		}
	}
	done := make(chan map[string]any)
	marker := database + " connection_id"
	go func() {
		_, err := rows(victim, "SELECT SLEEP(20) /* "+marker+" */")
		if err == nil {
			err = errors.New("not cancelled")
		}
		done <- describe(err)
	}()
	await(marker)
	attempt("connection_id.kill", func() (any, error) { return exec(db, fmt.Sprintf("KILL QUERY %d", id)) })
	say("connection_id.outcome", <-done)
	attempt("connection_id.after", func() (any, error) { return rows(victim, "SELECT 'alive'") })
	// What the driver does when a context ends: it closes the socket and says why.
	ending, end := context.WithCancel(ctx)
	marker = database + " context"
	go func() {
		_, err := victim.QueryContext(ending, "SELECT SLEEP(1) /* "+marker+" */")
		done <- map[string]any{"canceled": errors.Is(err, context.Canceled)}
	}()
	await(marker)
	end()
	say("context.outcome", <-done)
	attempt("context.after", func() (any, error) { return rows(victim, "SELECT 'alive'") })
	notOffered("greeting_id")
}

func counts(db *sql.DB) {
	section = "counts"
	for _, found := range []bool{false, true} {
		client := open(func(c *mysql.Config) { c.ClientFoundRows = found })
		for _, text := range []string{fmt.Sprintf("INSERT INTO beads (title) VALUES ('%v-a'), ('%v-b')", found, found), fmt.Sprintf("UPDATE beads SET points = 1 WHERE title LIKE '%v%%'", found),
			fmt.Sprintf("UPDATE beads SET points = 1 WHERE title LIKE '%v%%'", found), fmt.Sprintf("REPLACE INTO beads (title, points) VALUES ('%v-a', 8)", found), "DELETE FROM beads WHERE id < 0"} {
			attempt(fmt.Sprintf("%v.%s", found, text), func() (any, error) { return exec(client, text) })
		}
		for _, text := range []string{"SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()"} {
			attempt(fmt.Sprintf("%v.%s", found, text), func() (any, error) { return rows(client, text) })
		}
		client.Close()
	}
	must(rows(db, "SELECT 1 / 0"))
	attempt("warnings", func() (any, error) { return rows(db, "SHOW WARNINGS") })
	must(db.Exec("ROLLBACK"))
}

func charset(db *sql.DB) {
	section = "charset"
	for number, word := range []string{"naïve", "日本語", "🐬🚀", "", "a\u0300"} {
		attempt(fmt.Sprintf("%d.insert", number), func() (any, error) { return exec(db, "INSERT INTO words VALUES (?, ?)", number, word) })
		attempt(fmt.Sprintf("%d", number), func() (any, error) { return rows(db, "SELECT w, HEX(w) FROM words WHERE id = ?", number) })
	}
	for _, collation := range []string{"utf8mb4_bin", "latin1_swedish_ci", "utf8mb4_general_ci"} {
		client := open(func(c *mysql.Config) { c.Collation = collation })
		attempt(collation, func() (any, error) {
			return rows(client, "SELECT @@character_set_client, @@collation_connection, @@character_set_results")
		})
		client.Close()
	}
}

func dolt(db *sql.DB) {
	section = "dolt"
	for _, text := range []string{"CALL DOLT_COMMIT('-Am', 'tables')", "CALL DOLT_BRANCH('work')", "CALL DOLT_CHECKOUT('work')", "SELECT DATABASE(), active_branch()",
		"INSERT INTO beads (title) VALUES ('on work')", "CALL DOLT_ADD('-A')"} {
		attempt(text, func() (any, error) {
			found, err := rows(db, text)
			return hashes.ReplaceAllString(fmt.Sprint(found), "<hash>"), err
		})
	}
	// As bd does it: prepared, with arguments.
	for round := range 2 {
		attempt(fmt.Sprintf("commit.%d", round), func() (any, error) {
			var hash string
			err := db.QueryRow("CALL DOLT_COMMIT('-m', ?, '--author', ?)", "from work", "A <a@example.com>").Scan(&hash)
			return len(hash), err
		})
	}
	attempt("checkout", func() (any, error) { return rows(db, "CALL DOLT_CHECKOUT(?)", "main") })
	attempt("main", func() (any, error) { return rows(db, "SELECT COUNT(*) FROM beads WHERE title = ?", "on work") })
	attempt("qualified", func() (any, error) {
		return rows(db, "SELECT COUNT(*) FROM `"+database+"/work`.beads WHERE title = ?", "on work")
	})
}

func sessionSection() {
	section = "session"
	where := func(q queryer) any { return must(rows(q, "SELECT DATABASE(), active_branch(), @v")) }
	client := open(nil)
	defer client.Close()
	must(client.Exec("CALL DOLT_BRANCH('side')"))
	for _, text := range []string{"USE `" + database + "/side`", "USE `" + database + "`", "USE information_schema", "USE `" + database + "/main`"} {
		attempt(text, func() (any, error) { return exec(client, text) })
		say(text+".where", where(client))
	}
	must(client.Exec("SET @v = 'kept'"))
	say("variable", where(client))
	branch := open(func(c *mysql.Config) {
		c.DBName = database + "/side"
		c.Params = map[string]string{"sql_mode": "'ANSI_QUOTES'"}
	})
	defer branch.Close()
	say("handshake.branch", where(branch))
	attempt("handshake.params", func() (any, error) { return rows(branch, "SELECT @@sql_mode") })
	none := open(func(c *mysql.Config) { c.DBName = "" })
	defer none.Close()
	say("handshake.none", where(none))
	attempt("no_database", func() (any, error) { return rows(none, "SELECT * FROM beads") })
	notOffered("reset_connection")
	notOffered("change_user")
}

func wide(db *sql.DB) {
	section = "wide"
	parts, marks, arguments := []string{}, []string{}, []any{}
	for n := range 500 {
		value := []string{"NULL", fmt.Sprint(n), fmt.Sprintf("'v%d'", n)}[n%3]
		parts = append(parts, fmt.Sprintf("%s AS c%d", value, n))
		marks = append(marks, "?")
		arguments = append(arguments, n)
	}
	text := "SELECT " + strings.Join(parts, ", ")
	attempt("text", func() (any, error) { return rows(db, text) })
	attempt("binary", func() (any, error) { return rows(db, text+" WHERE 1 = ?", 1) })
	attempt("parameters", func() (any, error) { return rows(db, "SELECT "+strings.Join(marks, ", "), arguments...) })
}

func stream(db *sql.DB) {
	section = "stream"
	text := shared("stream.sql")[0]
	for _, name := range []string{"text", "binary"} {
		arguments := []any{}
		if name == "binary" {
			text += " WHERE a.d >= ?"
			arguments = append(arguments, 0)
		}
		result := must(db.Query(text, arguments...))
		hash, total := sha1.New(), 0
		for result.Next() {
			var n, s, f sql.RawBytes
			if err := result.Scan(&n, &s, &f); err != nil {
				panic(err)
			}
			fmt.Fprintf(hash, "%s|%s|%s\n", n, s, f)
			total++
		}
		if err := result.Err(); err != nil {
			panic(err)
		}
		say(name, []any{total, hex.EncodeToString(hash.Sum(nil))})
	}
	// Abandoned after one row: the driver reads the rest away or closes.
	connection := must(db.Conn(ctx))
	result := must(connection.QueryContext(ctx, "SELECT d FROM digits ORDER BY d"))
	result.Next()
	result.Close()
	attempt("abandoned", func() (any, error) { return rows(connection, "SELECT 'alive'") })
	connection.Close()
}

func main() {
	db := open(nil)
	connect(db)
	for _, part := range []func(*sql.DB){query, prepared, types, large, multi, call, infile, transaction, errorsSection, cancel, counts, charset, dolt} {
		part(db)
	}
	sessionSection()
	wide(db)
	stream(db)
	section = "cursor"
	notOffered("all")
	section = "pipeline"
	notOffered("all")
	fmt.Printf("checks: %d\n", checks)
}
