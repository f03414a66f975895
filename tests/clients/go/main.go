// go-sql-driver/mysql, the driver of bd: database/sql over text and binary protocol.
package main

import (
	"database/sql"
	"fmt"
)

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
