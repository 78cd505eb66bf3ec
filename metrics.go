// metrics.go: what is counted on Caddy's metrics registry.

package registration

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of the realms. They carry a realm's name and
// nothing of its accounts.
type metrics struct {
	throttled *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "registration", Name: "throttled_total",
		Help: "Requests that a throttle answered with 429.",
	}, []string{"realm", "throttle"})}
}

// register enters the counters in a registry, or takes over those that another
// realm of the configuration has entered.
func (m *metrics) register(registry prometheus.Registerer) error {
	err := registry.Register(m.throttled)
	if have := (prometheus.AlreadyRegisteredError{}); errors.As(err, &have) {
		m.throttled = have.ExistingCollector.(*prometheus.CounterVec)
		return nil
	}
	return err
}
