-- The demo town: hq (town level), two rigs, and two polecats at work in gastown. Tables as in the reference document.

CREATE DATABASE hq;
CREATE DATABASE gastown;
CREATE DATABASE beads;

USE hq;
CREATE TABLE issues (
    id VARCHAR(64) PRIMARY KEY, type VARCHAR(32), title TEXT, description TEXT, status VARCHAR(32), priority INT,
    owner VARCHAR(255), assignee VARCHAR(255), labels JSON, parent VARCHAR(64),
    created_at TIMESTAMP, updated_at TIMESTAMP, closed_at TIMESTAMP
);
CREATE TABLE mail (
    id VARCHAR(64) PRIMARY KEY, thread_id VARCHAR(64), from_addr VARCHAR(255), to_addrs JSON,
    subject TEXT, body TEXT, sent_at TIMESTAMP, read_at TIMESTAMP
);
CREATE TABLE channels (
    id VARCHAR(64) PRIMARY KEY, name VARCHAR(255), type VARCHAR(32), config JSON, created_at TIMESTAMP
);
INSERT INTO issues VALUES
    ('hq-1', 'convoy', 'Branch per polecat', 'Every polecat works on a branch of its own.', 'open', 1,
     'mayor', NULL, '["convoy"]', NULL, '2026-11-02 08:00:00', '2026-11-02 08:00:00', NULL),
    ('hq-2', 'task', 'Write the morning report', NULL, 'closed', 3,
     'mayor', 'deacon', '[]', 'hq-1', '2026-11-02 08:05:00', '2026-11-02 09:30:00', '2026-11-02 09:30:00');
INSERT INTO mail VALUES
    ('hq-m1', 'hq-t1', 'mayor/', '["gastown/witness"]', 'Two polecats for the convoy', 'Sling gt-1 and gt-2, please.',
     '2026-11-02 08:10:00', NULL);
INSERT INTO channels VALUES ('hq-c1', 'town', 'broadcast', '{"retention_days": 30}', '2026-11-02 08:00:00');
CALL DOLT_COMMIT('-Am', 'Found the town', '--author', 'mayor <mayor@demo.town>');

USE gastown;
CREATE TABLE issues LIKE hq.issues;
CREATE TABLE mail LIKE hq.mail;
CREATE TABLE channels LIKE hq.channels;
INSERT INTO issues VALUES
    ('gt-1', 'task', 'Pin the listener to loopback', NULL, 'hooked', 1,
     'mayor', 'gastown/polecats/furiosa', '["security"]', 'hq-1', '2026-11-02 08:20:00', '2026-11-02 08:40:00', NULL),
    ('gt-2', 'bug', 'Counter loses updates', '50 writers, 500 updates, and the counter reads 12.', 'hooked', 0,
     'mayor', 'gastown/polecats/nux', '["data"]', 'hq-1', '2026-11-02 08:21:00', '2026-11-02 08:41:00', NULL),
    ('gt-3', 'task', 'Tidy the witness log', NULL, 'open', 3,
     'gastown/witness', NULL, '[]', NULL, '2026-11-02 08:22:00', '2026-11-02 08:22:00', NULL);
INSERT INTO channels VALUES ('gt-c1', 'gastown', 'rig', '{}', '2026-11-02 08:20:00');
CALL DOLT_COMMIT('-Am', 'Start the rig', '--author', 'gastown/witness <witness@demo.town>');
CALL DOLT_BRANCH('polecat-furiosa');
CALL DOLT_BRANCH('polecat-nux');

USE `gastown/polecat-furiosa`;
INSERT INTO issues VALUES
    ('gt-f1', 'task', 'Test that 0.0.0.0 is refused', NULL, 'open', 2, 'gastown/polecats/furiosa',
     'gastown/polecats/furiosa', '["security"]', 'gt-1', '2026-11-02 09:00:00', '2026-11-02 09:00:00', NULL);
CALL DOLT_COMMIT('-Am', 'Found while working on gt-1', '--author', 'gastown/polecats/furiosa <furiosa@demo.town>');

USE `gastown/polecat-nux`;
INSERT INTO issues VALUES
    ('gt-n1', 'bug', 'FOR UPDATE is parsed and ignored', NULL, 'open', 1, 'gastown/polecats/nux',
     'gastown/polecats/nux', '["data"]', 'gt-2', '2026-11-02 09:05:00', '2026-11-02 09:05:00', NULL);
CALL DOLT_COMMIT('-Am', 'Found while working on gt-2', '--author', 'gastown/polecats/nux <nux@demo.town>');

USE beads;
CREATE TABLE issues LIKE hq.issues;
CREATE TABLE mail LIKE hq.mail;
CREATE TABLE channels LIKE hq.channels;
INSERT INTO issues VALUES
    ('bd-1', 'feature', 'Show the branch in bd status', NULL, 'open', 2,
     'mayor', NULL, '["cli"]', NULL, '2026-11-02 08:30:00', '2026-11-02 08:30:00', NULL);
CALL DOLT_COMMIT('-Am', 'Start the rig', '--author', 'beads/witness <witness@demo.town>');
