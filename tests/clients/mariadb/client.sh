#!/usr/bin/env bash
# The mariadb command-line client: everything that a person or a script does with it, as text.
#
# Every statement's output (rows, column types, info line, error) is observed line by line.
set -uo pipefail

checks=0
section=

emit() {
    local line=${1//$BL_SCRATCH/<scratch>}
    printf '%s\n' "${line//$BL_DATABASE/<db>}"
}

say() {
    checks=$((checks + 1))
    emit "$section.$1: $2"
}

not_offered() { printf 'not offered by this client: %s.all\n' "$1"; }

if [[ -n ${BL_SOCKET-} ]]; then
    server=(--protocol=socket -S "$BL_SOCKET")
else
    server=(--protocol=tcp -h "$BL_HOST" -P "$BL_PORT")
fi

# The client with our server; further arguments as given. Its own option files are not read.
client() {
    MYSQL_PWD=${PASSWORD-$BL_PASSWORD} mariadb --no-defaults "${server[@]}" -u "${LOGIN-$BL_USER}" \
        --default-character-set=utf8mb4 --max-allowed-packet=64M --local-infile=1 --skip-ssl "$@" 2>&1
}

# Runs SQL and says each line of what came back: run NAME SQL [ARGUMENTS…]. Times differ from run to run and are cut off.
run() {
    local name=$1 sql=$2 line number=0
    shift 2
    while IFS= read -r line; do
        say "$name.$number" "$line"
        number=$((number + 1))
    done < <(client "$@" "${DATABASE-$BL_DATABASE}" <<<"$sql" | sed -E 's/ \([0-9]+([.][0-9]+)? sec\)$//; s/ \([0-9]+ min [0-9.]+ sec\)$//')
    say "$name.lines" "$number"
}

sha() { sha1sum | cut -d' ' -f1; }

section=connect
while IFS= read -r sql; do
    run "${sql:0:40}" "DELIMITER \$\$
$sql \$\$" -vv
done < <(cat "$BL_SHARED/schema.sql" "$BL_SHARED/types.sql")

section=query
run basic "SELECT 1; SELECT NULL, '', ' ', 0; SELECT 1 WHERE FALSE; SET @a = 5; SELECT @a; SELECT \"q\" AS \`we\`\`ird\`;" -vvv -t --column-type-info
run show "SHOW TABLES; DESCRIBE beads; SHOW CREATE TABLE beads; SELECT CURRENT_USER(), DATABASE(), active_branch();" -vv -t
run vertical "SELECT 1 AS a, 'two' AS b\\G"
run batch "SELECT 'tab	and\\\\n', 'x\\ny';" -B
run raw "SELECT 'tab	and\\\\n', 'x\\ny';" -B -r
run xml "SELECT 1 AS a, NULL AS b, '<&>' AS c;" -X
run html "SELECT 1 AS a, '<&>' AS c;" -H
run quick "SELECT d FROM digits ORDER BY d;" --quick
run execute "" -e "SELECT 1; SELECT 2"
say ping "$(MYSQL_PWD=$BL_PASSWORD mariadb-admin --no-defaults "${server[@]}" -u "$BL_USER" --skip-ssl ping 2>&1)"
say statistics "$(MYSQL_PWD=$BL_PASSWORD mariadb-admin --no-defaults "${server[@]}" -u "$BL_USER" --skip-ssl status 2>&1)"

section=prepared
run sql "PREPARE p FROM 'SELECT ? + 1, d FROM digits WHERE d = ?'; SET @n = 41, @d = 3; EXECUTE p USING @n, @d; EXECUTE p USING @d, @d; DEALLOCATE PREPARE p;" -vv -t --force
run gone "EXECUTE p USING @n;"
run wrong "PREPARE p FROM 'SELECT * FROM nope WHERE id = ?';"
not_offered types_binary
not_offered long_data

section=types_text
for table in types bits shapes vectors; do
    run "$table" "SELECT * FROM $table ORDER BY id;" -t --column-type-info --binary-as-hex -E
done

section=large
head -c 20971520 < <(yes 'branchline 20 MiB') >"$BL_SCRATCH/big"
say written "$(sha <"$BL_SCRATCH/big")"
{
    printf "INSERT INTO big VALUES (1, 0x"
    od -An -v -tx1 "$BL_SCRATCH/big" | tr -d ' \n'
    printf ");\n"
} >"$BL_SCRATCH/big.sql"
say insert "$(client -vv "$BL_DATABASE" <"$BL_SCRATCH/big.sql" | grep -v '^INSERT' | sed -E 's/ \([0-9.]+ sec\)//' | tr '\n' '|')"
run length "SELECT LENGTH(v) FROM big;"
say read "$(client -N -B -r "$BL_DATABASE" -e 'SELECT v FROM big' | head -c 20971520 | sha)"
say repeat "$(client -N -B "$BL_DATABASE" -e "SELECT REPEAT('x', 20 * 1024 * 1024)" | sha)"
run after "DROP TABLE big; SELECT 'alive';"

section=multi
run stop "SELECT 1; SELECT * FROM nope; SELECT 2;"
run force "SELECT 1; SELECT * FROM nope; SELECT 2;" --force
# With its own delimiter the client sends all of it as one command.
run one_command "DELIMITER \$\$
SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE; INSERT INTO beads (title) VALUES ('m1'); DELETE FROM beads WHERE title = 'm1' \$\$
SELECT 'next' \$\$" -vv -t
run one_command.error "DELIMITER \$\$
SELECT 1; SELECT * FROM nope \$\$"
run after "SELECT 'alive';"

section=call
run procedures "CALL one_set(3); CALL two_sets(3); CALL out_value(4, @o); SELECT @o; CALL no_set(); CALL nope(); CALL one_set();" -vv -t --force

section=infile
printf '1,one,note 🐬\n2,two,\\N\n3,three,x\n' >"$BL_SCRATCH/load.csv"
seq -f '%.0f,name,nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn' 1000 6000 >"$BL_SCRATCH/many.csv"
load() { printf "LOAD DATA LOCAL INFILE '%s' INTO TABLE %s FIELDS TERMINATED BY ',';" "$BL_SCRATCH/$1" "${2:-loaded}"; }
run load "$(load load.csv) SELECT * FROM loaded ORDER BY id;" -vv -t
run many "$(load many.csv) SELECT COUNT(*), SUM(id) FROM loaded;" -vv -t
run missing "$(load missing.csv) SELECT COUNT(*) FROM loaded;" --force
run refused "$(load load.csv) SELECT 'alive';" --force --local-infile=0
run wrong_table "$(load load.csv nope) SELECT 'alive';" --force

section=transaction
run steps "BEGIN; INSERT INTO beads (title) VALUES ('t-1'); SELECT COUNT(*) FROM beads; ROLLBACK; SELECT COUNT(*) FROM beads; START TRANSACTION;
INSERT INTO beads (title) VALUES ('t-1'); SAVEPOINT s; INSERT INTO beads (title) VALUES ('t-2'); ROLLBACK TO SAVEPOINT s; COMMIT; SELECT title FROM beads;
SET autocommit = 0; INSERT INTO beads (title) VALUES ('t-3'); ROLLBACK; SET autocommit = 1; SELECT title FROM beads; START TRANSACTION READ ONLY;
INSERT INTO beads (title) VALUES ('t-4'); COMMIT;" -vvv -t --force
run left_open "BEGIN; INSERT INTO beads (title) VALUES ('t-5');"
run left_open.after "SELECT title FROM beads;"

section=error
run statements "INSERT INTO beads (title) VALUES ('t-1'); ROLLBACK; SELECT * FROM nope; SELEC 1; USE nope; SELECT nope FROM beads;
INSERT INTO beads (title) VALUES (NULL); ROLLBACK; INSERT INTO types (id, c_tinyint) VALUES (99, 1000); ROLLBACK; SELECT 'alive';" --force
PASSWORD=wrong run login.password "SELECT 1"
PASSWORD='' run login.no_password "SELECT 1"
LOGIN=nobody_here run login.user "SELECT 1"
DATABASE=nope run login.database "SELECT 1"
DATABASE=$BL_DATABASE/nope run login.branch "SELECT 1"

section=cancel
# The statement is awaited in the process list; then its connection's own id, as the process list shows it, is killed.
listed() { client -N -B -e "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(20) /* $BL_DATABASE */%' AND info NOT LIKE '%processlist%'"; }
client "$BL_DATABASE" -e "SELECT SLEEP(20) /* $BL_DATABASE */" --comments >"$BL_SCRATCH/sleep" &
until id=$(listed) && [[ -n $id ]]; do :; done
say kill "$(client -e "KILL QUERY $id")"
wait $!
say outcome "exit $?, $(tr '\n' '|' <"$BL_SCRATCH/sleep")"
# What the program itself does at Ctrl-C: a second connection with KILL QUERY and the greeting's id.
client "$BL_DATABASE" --sigint-ignore -e "SELECT 'not cancelled'" >"$BL_SCRATCH/sleep"
say sigint_ignored "$(tr '\n' '|' <"$BL_SCRATCH/sleep")"
MYSQL_PWD=$BL_PASSWORD setsid mariadb --no-defaults "${server[@]}" -u "$BL_USER" --skip-ssl --comments "$BL_DATABASE" \
    -e "SELECT SLEEP(20) /* $BL_DATABASE */" >"$BL_SCRATCH/sleep" 2>&1 &
pid=$!
until id=$(listed) && [[ -n $id ]]; do :; done
kill -INT "$pid"
wait "$pid"
say interrupted "exit $?, $(tr '\n' '|' <"$BL_SCRATCH/sleep")"

section=counts
run counters "INSERT INTO beads (title) VALUES ('c-a'), ('c-b'); UPDATE beads SET points = 1 WHERE title LIKE 'c-%'; UPDATE beads SET points = 1 WHERE title LIKE 'c-%';
REPLACE INTO beads (title, points) VALUES ('c-a', 8); DELETE FROM beads WHERE id < 0; SELECT FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID(); DROP TABLE IF EXISTS nope;
SELECT 1 / 0; SELECT CAST('x' AS SIGNED);" -vvv -t --show-warnings

section=charset
run words "INSERT INTO words VALUES (1, 'naïve'), (2, '日本語'), (3, '🐬🚀'); SELECT w, HEX(w), CHAR_LENGTH(w) FROM words ORDER BY id; SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SELECT @@collation_connection; SET NAMES latin1; SELECT @@character_set_results;" -t

section=dolt
run commit "CALL DOLT_ADD('-A'); SELECT LENGTH(@@${BL_DATABASE}_head); CALL DOLT_COMMIT('-m', 'nothing', '--skip-empty', '--amend', '--oops');" --force
say committed "$(client -N -B "$BL_DATABASE" -e "CALL DOLT_COMMIT('-Am', 'tables')" | tr -d '\n' | wc -c)"
run branches "CALL DOLT_BRANCH('work'); CALL DOLT_CHECKOUT('work'); SELECT DATABASE(), active_branch(); INSERT INTO beads (title) VALUES ('on work'); SELECT COUNT(*) FROM beads;
USE $BL_DATABASE; SELECT active_branch(); CALL DOLT_CHECKOUT('main'); SELECT COUNT(*) FROM beads; SELECT name FROM dolt_branches ORDER BY name;" -vv -t

section=session
run use "USE $BL_DATABASE/work
SELECT DATABASE(), active_branch();
USE $BL_DATABASE
SELECT DATABASE(), active_branch();
USE information_schema
SELECT DATABASE(), active_branch();"
DATABASE=$BL_DATABASE/work run handshake "SELECT DATABASE(), active_branch();"
run init_command "SELECT @v;" --init-command="SET @v = 'from init'"
# --auto-rehash reads every table's columns with COM_FIELD_LIST.
run rehash "SELECT 'rehashed';
\\#
SELECT 'again';" --auto-rehash
# mysql_change_user at \x; COM_RESET_CONNECTION has no other way into this client.
run reset "SET @v = 1;
\\x
SELECT @v, DATABASE();" --force

section=wide
columns=$(for n in $(seq 0 499); do case $((n % 3)) in 0) printf 'NULL AS c%d, ' "$n" ;; 1) printf '%d AS c%d, ' "$n" "$n" ;; 2) printf "'v%d' AS c%d, " "$n" "$n" ;; esac; done)
run text "SELECT ${columns%, };" --column-type-info -E -t

section=stream
say text "$(client -N -B --quick "$BL_DATABASE" <"$BL_SHARED/stream.sql" | sha)"
say rows "$(client -N -B --quick "$BL_DATABASE" <"$BL_SHARED/stream.sql" | wc -l)"

not_offered cursor
not_offered pipeline
printf 'checks: %d\n' "$checks"
