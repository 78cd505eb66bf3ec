// export_test.go: what tests of this package look at from outside.

package outbox

const (
	MailFirstRetry = mailFirstRetry
	MailIdle       = mailIdle
	MailLastRetry  = mailLastRetry
	MailLease      = mailLease
	MailPatience   = mailPatience
	MailProbe      = mailProbe
	MailUnremoved  = mailUnremoved
)

var Backoff = backoff
