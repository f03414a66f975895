// Queries, types, large values, several results, files.
package main

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

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
