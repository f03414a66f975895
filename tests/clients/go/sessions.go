// Transactions, errors, cancelling, counters, Dolt's branches, streams.
package main

import (
	"context"
	"crypto/sha1"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

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
		return rows(db, fmt.Sprintf("SELECT COUNT(*) FROM `%s/work`.beads WHERE title = ?", database), "on work")
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
