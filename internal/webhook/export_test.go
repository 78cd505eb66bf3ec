package webhook

import (
	"context"
	"net/netip"
	"time"
)

// What tests see of a worker, and of the addresses.
var (
	IsPublic = isPublic
	Dialer   = dialer
)

// Steps is a sender whose worker takes its steps when it is asked to.
func Steps(s *Sender) (step func(context.Context) (time.Duration, error)) { return s.workers[0].step }

// Lease and GiveUp are the bounds of time; MaxHeld, that of refused messages.
const (
	Lease     = lease
	MaxHeld   = maxHeld
	MaxLooked = maxLooked

	CountDelivered = countDelivered
	CountGivenUp   = countGivenUp
)

// Parse is for tables of addresses.
func Parse(text string) netip.Addr { return netip.MustParseAddr(text) }
