CREATE TABLE ~realms (
	id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name        text    NOT NULL UNIQUE,
	-- The last numbers that were given away. Who writes has the row locked.
	mail_seq    bigint  NOT NULL DEFAULT 0,
	audit_seq   bigint  NOT NULL DEFAULT 0,
	change_seq  bigint  NOT NULL DEFAULT 0,
	-- How many accounts there are, and how many in each state but the usual one.
	accounts    bigint  NOT NULL DEFAULT 0,
	unconfirmed bigint  NOT NULL DEFAULT 0,
	waiting     bigint  NOT NULL DEFAULT 0,
	disabled    bigint  NOT NULL DEFAULT 0,
	closing     bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE ~users (
	realm         integer  NOT NULL,
	id            bytea    NOT NULL,
	state         smallint NOT NULL, -- 0: active
	waiting_since bigint,            -- unix seconds, of those who await their verification
	data          bytea    NOT NULL,
	PRIMARY KEY (realm, id)
) WITH (fillfactor = 90);
CREATE INDEX ON ~users (realm, state, id) WHERE state <> 0;
CREATE INDEX ON ~users (realm, waiting_since, id) WHERE waiting_since IS NOT NULL;

CREATE TABLE ~keys (
	realm   integer NOT NULL,
	field   bytea   NOT NULL,
	value   bytea   NOT NULL,
	account bytea   NOT NULL,
	PRIMARY KEY (realm, field, value)
);

CREATE TABLE ~waiting (
	realm   integer NOT NULL,
	value   bytea   NOT NULL,
	account bytea   NOT NULL,
	PRIMARY KEY (realm, value, account)
);

CREATE TABLE ~groups (
	realm   integer NOT NULL,
	name    bytea   NOT NULL,
	account bytea   NOT NULL,
	PRIMARY KEY (realm, name, account)
);

CREATE TABLE ~texts (
	realm   integer NOT NULL,
	text    bytea   NOT NULL, -- the beginning of a folded text
	account bytea   NOT NULL,
	PRIMARY KEY (realm, text, account)
);

CREATE TABLE ~sessions (
	realm   integer NOT NULL,
	hash    bytea   NOT NULL,
	account bytea   NOT NULL,
	expires bigint  NOT NULL, -- unix seconds
	data    bytea   NOT NULL,
	PRIMARY KEY (realm, hash)
) WITH (fillfactor = 90);
CREATE INDEX ON ~sessions (realm, account, hash);
CREATE INDEX ON ~sessions (realm, expires);

CREATE TABLE ~mails (
	realm     integer NOT NULL,
	seq       bigint  NOT NULL,
	recipient bytea   NOT NULL, -- in lower case
	head      boolean NOT NULL, -- the oldest of its recipient
	due       bigint  NOT NULL, -- unix milliseconds
	worker    bytea,
	leased    bigint,           -- unix milliseconds
	data      bytea   NOT NULL,
	PRIMARY KEY (realm, seq)
);
CREATE INDEX ON ~mails (realm, recipient, seq);
CREATE INDEX ON ~mails (realm, due, seq) WHERE head;
CREATE INDEX ON ~mails (realm, worker) WHERE worker IS NOT NULL;

CREATE TABLE ~values (
	realm integer NOT NULL,
	name  bytea   NOT NULL,
	value bytea   NOT NULL,
	PRIMARY KEY (realm, name)
);

CREATE TABLE ~budgets (
	realm integer NOT NULL,
	name  bytea   NOT NULL,
	key   bytea   NOT NULL,
	whole bigint  NOT NULL, -- unix milliseconds
	PRIMARY KEY (realm, name, key)
);
CREATE INDEX ON ~budgets (realm, whole);

CREATE TABLE ~audits (
	realm   integer NOT NULL,
	seq     bigint  NOT NULL,
	at      bigint  NOT NULL, -- unix seconds
	account bytea,
	event   bytea   NOT NULL,
	data    bytea   NOT NULL,
	PRIMARY KEY (realm, seq)
);
CREATE INDEX ON ~audits (realm, account, seq) WHERE account IS NOT NULL;
CREATE INDEX ON ~audits (realm, at);

CREATE TABLE ~left_names (
	realm   integer NOT NULL,
	hash    bytea   NOT NULL,
	account bytea   NOT NULL,
	until   bigint  NOT NULL, -- unix seconds
	PRIMARY KEY (realm, hash)
);
CREATE INDEX ON ~left_names (realm, until);

CREATE TABLE ~invitations (
	realm   integer NOT NULL,
	id      bytea   NOT NULL,
	hash    bytea   NOT NULL,
	expires bigint  NOT NULL, -- unix seconds
	data    bytea   NOT NULL,
	PRIMARY KEY (realm, id),
	UNIQUE (realm, hash)
);
CREATE INDEX ON ~invitations (realm, expires);

-- What the nodes that remember accounts and sessions have to forget, in the order of the commits.
CREATE TABLE ~changes (
	realm    integer     NOT NULL,
	seq      bigint      NOT NULL,
	at       timestamptz NOT NULL DEFAULT clock_timestamp(),
	accounts bytea[]     NOT NULL,
	sessions bytea[]     NOT NULL,
	PRIMARY KEY (realm, seq)
);
CREATE INDEX ON ~changes (at);
