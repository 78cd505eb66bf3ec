package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// openStore opens an empty embedded store; remove closes it and takes it away.
func openStore() (s store.Store, remove func()) {
	folder, err := os.MkdirTemp("", "store")
	if err != nil {
		panic(err)
	}
	file, err := bolt.Open(filepath.Join(folder, "registration.db"), time.Second)
	if err != nil {
		panic(err)
	}
	realm, err := file.Realm("default")
	if err != nil {
		panic(err)
	}
	return realm, func() {
		_ = realm.Close()
		_ = file.Close()
		_ = os.RemoveAll(folder)
	}
}

// An act is one Update: all that belongs together is written by it, or nothing is. Of
// two accounts that claim one key, the store refuses the second and names the field.
func ExampleStore_update() {
	s, remove := openStore()
	defer remove()
	ctx := context.Background()
	signUp := func(username string) error {
		return s.Update(ctx, func(tx store.Tx) error {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: username, IsActive: true}
			if err := tx.PutValue("last sign-up", []byte(username)); err != nil {
				return err
			}
			return tx.PutUser(u, []store.Key{{Field: "username", Value: username}})
		})
	}
	fmt.Println(signUp("ada"))
	err := signUp("ada")
	taken := new(store.TakenError)
	fmt.Println(errors.Is(err, store.ErrTaken), errors.As(err, &taken), taken.Field)
	// Output:
	// <nil>
	// true true username
}

// The function of a View or an Update may run more than once: it sets what it
// captures, and adds nothing to it.
func ExampleStore_view() {
	s, remove := openStore()
	defer remove()
	ctx := context.Background()
	for _, username := range []string{"ada", "charles"} {
		if err := s.Update(ctx, func(tx store.Tx) error {
			return tx.PutUser(&store.User{ID: uuid.Must(uuid.NewV7()), Username: username}, []store.Key{{Field: "username", Value: username}})
		}); err != nil {
			panic(err)
		}
	}
	var names []string
	err := s.View(ctx, func(tx store.Tx) error {
		names = nil // of a first run that came to nothing
		const page = 1
		for after := (uuid.UUID{}); ; {
			users, err := tx.Users(after, page)
			if err != nil || len(users) == 0 {
				return err
			}
			for _, u := range users {
				names, after = append(names, u.Username), u.ID
			}
		}
	})
	fmt.Println(names, err)
	// Output: [ada charles] <nil>
}
