// throttle.go: a throttle's tables, and the budgets of a client's address with
// those of the networks that it is in.

package budget

import "net/netip"

// A Throttle has the names of its tables, one for each kind of key.
type Throttle struct {
	// Name is the throttle's.
	Name string
	// Target has the accounts and recipients; Device, the known devices; Devices,
	// all known devices of an account together.
	Target, Device, Devices string

	client, form [levels]string
}

// NewThrottle returns the names of a throttle's tables.
func NewThrottle(name string) *Throttle {
	t := &Throttle{Name: name, Target: name + "/target", Device: name + "/device", Devices: name + "/devices"}
	for i, level := range [levels]string{"client", "subnet", "site", "network"} {
		t.client[i], t.form[i] = name+"/"+level, name+"/form "+level
	}
	return t
}

// Lasting are the tables whose budgets are worth keeping over a restart: of
// accounts, recipients and devices. There are too many addresses, and they mean
// little a minute later.
func (t *Throttle) Lasting() []string { return []string{t.Target, t.Device, t.Devices} }

// Shared are the tables whose budgets several nodes spend together: all but those of what
// fails on its own form, which costs no more than the telling.
func (t *Throttle) Shared() []string { return append(t.Lasting(), t.client[:]...) }

// The levels of an address: its own, and those of networks around it.
const levels = 4

// The networks that a client's address is counted with, and how many times its
// own budget each has. The own is one IPv4 address or one /64 of IPv6, which is
// what a household, a phone or a rented server has at least. Who has more of
// them than one must not get as many budgets: a home or a small office has a /56
// (256 of them), a company or any customer of a tunnel broker a /48 (65,536), a
// provider a /32.
//
// The factors are far from what people who share such a network do, even all
// together: an office with its 250 desks behind one /24 can have 32 people sign in
// for the first time on their device at full speed (who is known on his device
// isn't refused by them at all). Behind a mobile carrier's address translation
// many people share one IPv4 address, whose own budget is full long before that of
// its /24 or /16; IPv6 phones have a /64 each, thousands in a /48, and only those
// who try without a known device meet its 16 budgets. What they bound is one
// owner of 65,536 networks: he gets 16 budgets, not 65,536.
//
// They bound the room that he takes, too: a budget needs room only where every
// wider one had an event left, so a /48 has at most some 16 times the events of a
// budget in any table.
var (
	levels4 = [levels]struct{ bits, factor int }{{32, 1}, {24, 32}, {}, {16, 256}}
	levels6 = [levels]struct{ bits, factor int }{{64, 1}, {56, 4}, {48, 16}, {32, 256}}
)

// formFactor is how much wider the budgets for what fails on its own form are: it
// costs neither a hash nor a mail, and people mistype.
const formFactor = 10

// Client are the charges for an event by the client at an address: against its
// own budget and those of the networks around it.
func (t *Throttle) Client(address string, limit Limit) []Charge {
	return charges(t.client, address, limit)
}

// Form are the charges for an event that failed on its own form.
func (t *Throttle) Form(address string, limit Limit) []Charge {
	return charges(t.form, address, limit.times(formFactor))
}

func charges(tables [levels]string, address string, limit Limit) []Charge {
	a, err := netip.ParseAddr(address)
	if err != nil { // a Unix socket has none
		return []Charge{{Table: tables[0], Key: keyOf("address", address), Limit: limit, address: true}}
	}
	a = a.Unmap().WithZone("")
	networks := &levels6
	if a.Is4() {
		networks = &levels4
	}
	out := make([]Charge, 0, levels)
	for i, n := range networks {
		if n.factor == 0 {
			continue
		}
		p, err := a.Prefix(n.bits)
		if err != nil { // not for these lengths
			continue
		}
		out = append(out, Charge{Table: tables[i], Key: Key(p.Addr().As16()), Limit: limit.times(n.factor), address: true})
	}
	return out
}

// Soft are the charges as those that refuse nobody.
func Soft(charges []Charge) []Charge {
	out := make([]Charge, len(charges))
	for i, c := range charges {
		c.Soft = true
		out[i] = c
	}
	return out
}
