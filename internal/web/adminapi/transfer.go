// transfer.go: all accounts out of a realm, and those of a file into it.

package adminapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/transfer"
)

var transferOperations = []Operation{{
	Method: http.MethodGet, Path: "{realm}/export",
	Summary: "All accounts, as they are at one moment after the request came; 507 where the disk has no room for them",
	Query: []Parameter{
		{"format", strings.Join(transfer.ExportFormats, ", ") + "; the first if it isn't there"},
		{"with_hashes", "1: with the hashes of the passwords, and in ndjson with all that an import needs to go on as before"},
	}, Do: export,
}}

// unhurried lifts the bounds that the admin endpoint has on the time of a request: a
// million accounts take longer.
func (c *Call) unhurried() {
	out := http.NewResponseController(c.W)
	_ = out.SetReadDeadline(time.Time{}) // none, where there is no connection
	_ = out.SetWriteDeadline(time.Time{})
}

// flag reads a parameter that is 1 or isn't there.
func (c *Call) flag(name string) (bool, error) {
	v := c.Query.Get(name)
	if v != "" && v != "1" {
		return false, errorf(http.StatusBadRequest, "%s is %q; write 1, or leave it out", name, v)
	}
	return v == "1", nil
}

// spool makes a file for what is moved.
func (c *Call) spool() (*transfer.Spool, error) {
	s, err := transfer.NewSpool(c.Realm.Folder)
	if err != nil {
		return nil, noRoom(err)
	}
	return s, nil
}

// noRoom says with which status something could not be written.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return errorf(http.StatusInsufficientStorage, "there is no room on the disk for the temporary file: %v", err)
	}
	return errorf(http.StatusInternalServerError, "the temporary file could not be written: %v", err)
}

func export(c *Call) (any, error) {
	o := transfer.ExportOptions{Format: c.Query.Get("format")}
	if o.Format == "" {
		o.Format = transfer.FormatNDJSON
	}
	if !slices.Contains(transfer.ExportFormats, o.Format) {
		return nil, errorf(http.StatusBadRequest, "format is %q; the formats are %s", o.Format, strings.Join(transfer.ExportFormats, ", "))
	}
	var err error
	if o.WithHashes, err = c.flag("with_hashes"); err != nil {
		return nil, err
	}
	c.unhurried()
	spool, err := c.spool()
	if err != nil {
		return nil, err
	}
	defer func() { _ = spool.Close() }()
	accounts, err := transfer.Export(c.Context(), c.Accounts, spool, o)
	var size int64
	if err == nil {
		size, err = spool.Rewind()
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return nil, noRoom(err)
	case err != nil:
		return nil, err
	}
	h := c.W.Header()
	h.Set("Content-Type", map[string]string{transfer.FormatNDJSON: "application/x-ndjson", transfer.FormatCSV: "text/csv; charset=utf-8", transfer.FormatDjango: "application/json"}[o.Format])
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	h.Set(accountsHeader, strconv.Itoa(accounts))
	if _, err := io.CopyN(c.W, spool, size); err != nil {
		panic(http.ErrAbortHandler) // the client has gone, or the disk fails
	}
	c.Realm.Logger.Info("accounts have been exported over the admin endpoint", zap.Int("accounts", accounts), zap.String("format", o.Format), zap.Bool("with_hashes", o.WithHashes))
	return Answered, nil
}

// accountsHeader says how many accounts an answer has.
const accountsHeader = "Accounts"
