// What every section uses: the transcript, connections, and results as text.
package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
