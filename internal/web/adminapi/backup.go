// backup.go: a copy of the whole store.

package adminapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/wholefile"
	"github.com/seed-928992b0/caddy-registration/store"
)

var backupOperations = []Operation{{
	Method: http.MethodGet, Path: "{realm}/backup",
	Summary: "A copy of the file that the accounts are in, with all realms in it, as it was at one moment after the request came; 409 while another one is being made, 507 where the disk has no room for it, 501 where the store is none that can be copied",
	Do:      backUp,
}}

// backUp sends a backup that is complete before its header is, so that it doesn't
// matter how fast it is read. If it breaks off, fewer bytes come than were promised.
func backUp(c *Call) (any, error) {
	s, ok := c.Accounts.Store.(store.BackingUp)
	if !ok {
		return nil, errorf(http.StatusNotImplemented, "this store makes no backups; use the tools of its own")
	}
	b, err := s.Backup(c.Context())
	switch {
	case errors.Is(err, store.ErrBackupRunning):
		return nil, errorf(http.StatusConflict, "%v", err)
	case errors.Is(err, wholefile.ErrNoRoom):
		return nil, errorf(http.StatusInsufficientStorage, "%v", err)
	case err != nil:
		return nil, errorf(http.StatusInternalServerError, "the store could not be backed up: %v", err)
	}
	defer func() { _ = b.Close() }()
	h := c.W.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(b.Size, 10))
	h.Set("Cache-Control", "no-store")
	if _, err := io.CopyN(c.W, b, b.Size); err != nil {
		panic(http.ErrAbortHandler) // the client has gone, or the disk fails
	}
	c.Realm.Logger.Info("a backup has been handed out over the admin endpoint", zap.Int64("size", b.Size))
	return answered, nil
}
