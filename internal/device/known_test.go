package device_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/device"
	"github.com/seed-928992b0/caddy-registration/store"
)

const most = 10

var at = time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)

func TestDevicesAreKnownAgain(t *testing.T) {
	ada, bob := &store.User{ID: uuid.New()}, &store.User{ID: uuid.New()}
	browser := device.Seen{Kept: device.NewName()}
	require.Nil(t, device.Find(ada, browser))
	for _, u := range []*store.User{ada, bob} {
		device.Learn(u, browser, store.KnownDevice{LastUsed: at})
		require.NotNil(t, device.Find(u, browser))
	}
	require.NotEqual(t, ada.KnownDevices[0].Name, bob.KnownDevices[0].Name, "nobody sees that they share one")
	require.Nil(t, device.Find(ada, device.Seen{Kept: device.NewName()}))
	require.Nil(t, device.Find(ada, device.Seen{}), "nothing is not known")
	device.Learn(ada, browser, store.KnownDevice{LastUsed: at.Add(time.Hour)})
	require.Len(t, ada.KnownDevices, 1, "it stands there once")

	script := device.Seen{Kept: device.NewName(), Program: device.Program("curl/8.14.1", "192.0.2.7")}
	device.Learn(ada, script, store.KnownDevice{LastUsed: at})
	require.NotNil(t, device.Find(ada, device.Seen{Kept: device.NewName(), Program: device.Program("curl/8.15.0", "192.0.2.200")}))
	for _, other := range []string{device.Program("curl/8.14.1", "192.0.3.7"), device.Program("Wget/1.25", "192.0.2.7"), ""} {
		require.Nil(t, device.Find(ada, device.Seen{Kept: device.NewName(), Program: other}), other)
	}
	require.Equal(t, device.Program("curl/8", "2001:db8:1:2::3"), device.Program("curl/8", "2001:db8:1:ffff::1"))
	require.Equal(t, device.Program("curl/8", "::ffff:192.0.2.1"), device.Program("curl/8", "192.0.2.99"))
	require.NotEmpty(t, device.Program("", "no address"))
}

func TestNamesThatABrowserKeeps(t *testing.T) {
	require.True(t, device.IsName(device.NewName()))
	require.NotEqual(t, device.NewName(), device.NewName())
	for _, bad := range []string{"", "x", device.NewName() + "x", device.NewName()[1:], "AAAAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAAB\n", "AAAAAAAAAAAAAAAAAAAAAB"} {
		require.False(t, device.IsName(bad), "%q", bad)
	}
}

// The list is bounded, and what it says of the last mail outlives what it says of devices.
func TestDevicesAreBoundedAndForgotten(t *testing.T) {
	u := &store.User{ID: uuid.New()}
	signIn := uuid.New()
	told := device.Seen{Kept: device.NewName()}
	device.Learn(u, told, store.KnownDevice{LastUsed: at, Told: at, SignIn: signIn})
	require.NotNil(t, device.Of(u, signIn))
	require.Nil(t, device.Of(u, uuid.Nil))
	for i := range 2 * most {
		device.Learn(u, device.Seen{Kept: device.NewName()}, store.KnownDevice{LastUsed: at.Add(time.Duration(i+1) * time.Second)})
		require.LessOrEqual(t, len(u.KnownDevices), most)
	}
	require.Nil(t, device.Find(u, told), "it was used least recently")
	require.True(t, device.ToldLately(u, at.Add(time.Minute)))
	require.False(t, device.ToldLately(u, at.Add(time.Hour)))
	require.False(t, device.ToldLately(u, at.Add(-time.Second)), "a clock was ahead")

	device.Learn(u, told, store.KnownDevice{LastUsed: at.Add(time.Hour), Told: at.Add(time.Hour), SignIn: signIn})
	device.Forget(u, signIn)
	require.Nil(t, device.Find(u, told))
	require.Nil(t, device.Of(u, signIn))
	require.Len(t, u.KnownDevices, most, "the others stay, and one entry for what is forgotten")
	require.True(t, device.ToldLately(u, at.Add(time.Hour)))
	for range 3 {
		device.ForgetAll(u)
		require.Len(t, u.KnownDevices, 1, "it has been signed in to")
		require.True(t, device.ToldLately(u, at.Add(time.Hour)))
	}
	empty := &store.User{ID: uuid.New()}
	device.Learn(empty, device.Seen{}, store.KnownDevice{LastUsed: at})
	device.ForgetAll(empty)
	device.Forget(empty, signIn)
	require.Empty(t, empty.KnownDevices)
}
