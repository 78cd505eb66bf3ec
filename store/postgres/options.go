// Package postgres keeps the accounts of realms in a PostgreSQL database, which several nodes
// may use at once: any of them answers any request.
//
// An act is one transaction that begins by locking the row of its realm, so acts follow one
// another over all nodes: what an act has read stays so until it commits, names and numbers are
// given away once, and the changes stand in the order of the commits. Reading locks nothing. What
// an act writes waits and goes to the server with the next thing that it reads or with its
// commit, all of it in one round trip.
package postgres

import "time"

// Options say where the accounts are.
type Options struct {
	// URL is that of the database, postgres://user:password@host/name?sslmode=verify-full, or
	// libpq's key=value form; what it leaves out comes from the PG… variables and the files
	// that libpq has. Behind PgBouncer in transaction mode: default_query_exec_mode=exec.
	URL string
	// Schema is where the tables are; it is made where it is missing. Default: registration.
	Schema string
	// Pool is how many connections a node has at most, beside one for each realm by which it
	// hears of other nodes' acts. Default: 16.
	Pool int
	// NoCache has every look-up ask the database: nothing may be remembered.
	NoCache bool
	// Grace is for how long what is remembered counts while the database can't be reached;
	// 0: for the second in which that isn't noticed. Then nothing is known. A node that does
	// reach it asks for each session once it has not heard of the others for a second.
	Grace time.Duration
}

// DefaultSchema and DefaultPool are those of Options; MaxGrace bounds its Grace.
const (
	DefaultSchema = "registration"
	DefaultPool   = 16
	MaxGrace      = 10 * time.Minute
)
