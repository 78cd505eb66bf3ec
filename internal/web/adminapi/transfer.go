// transfer.go: all accounts out of a realm, and those of a file into it.

package adminapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/identity"
	"github.com/seed-928992b0/caddy-registration/internal/transfer"
)

var transferOperations = []Operation{{
	Method: http.MethodGet, Path: "{realm}/export",
	Summary: "All accounts, as they are at one moment after the request came; 507 where the disk has no room for them. The header Accounts has their number, Sealed-Factors that of those whose second step stays behind, because the realm has no secret but in its store",
	Query: []Parameter{
		{"format", strings.Join(transfer.ExportFormats, ", ") + "; the first if it isn't there"},
		{"with_hashes", "1: with the hashes of the passwords, and in ndjson with all that an import needs to go on as before"},
		{"with_audit", "1: with the record of acts, in ndjson"},
	}, Do: export,
}, {
	Method: http.MethodPost, Path: "{realm}/import",
	Summary: `Takes the accounts of a file in, which is the body: a JSON object a line, {"progress"}, {"remark"} about a line of the file, and {"report"} as the last one, or {"error"}. What was taken stays: the same again goes on where it broke off`,
	Query: []Parameter{
		{"format", strings.Join(transfer.ImportFormats(), ", ")},
		{"dry_run", "1: says what would happen, and changes nothing"},
		{"update", "1: changes accounts that are there already, but nothing that people sign in with"},
		{"group", "A group that all of them are added to"},
	}, Answer: map[string]any{"report": transfer.Report{Added: 2, Reasons: []*transfer.Reason{}}}, Do: imports,
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
	if o.WithAudit, err = c.flag("with_audit"); err != nil {
		return nil, err
	}
	if o.WithAudit && o.Format != transfer.FormatNDJSON {
		return nil, errorf(http.StatusBadRequest, "with_audit is of the format ndjson, and not of %s; leave one out", o.Format)
	}
	c.unhurried()
	spool, err := c.spool()
	if err != nil {
		return nil, err
	}
	defer func() { _ = spool.Close() }()
	got, err := transfer.Export(c.Context(), c.Accounts, spool, o)
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
	h.Set(accountsHeader, strconv.Itoa(got.Accounts))
	if got.Sealed > 0 {
		h.Set(sealedHeader, strconv.Itoa(got.Sealed))
	}
	if _, err := io.CopyN(c.W, spool, size); err != nil {
		panic(http.ErrAbortHandler) // the client has gone, or the disk fails
	}
	c.Realm.Logger.Info("accounts have been exported over the admin endpoint", zap.Int("accounts", got.Accounts), zap.String("format", o.Format), zap.Bool("with_hashes", o.WithHashes))
	return answered, nil
}

// imports takes the accounts of the body in. It is read to its end first: what breaks off
// on the way has changed nothing, and neither an import nor its transactions wait for
// whoever sends it.
func imports(c *Call) (any, error) {
	o := transfer.Options{}
	o.Format, o.Group = c.Query.Get("format"), c.Query.Get("group")
	if !slices.Contains(transfer.ImportFormats(), o.Format) {
		return nil, errorf(http.StatusBadRequest, "format is %q; the formats are %s", o.Format, strings.Join(transfer.ImportFormats(), ", "))
	}
	var err, wrong error
	o.DryRun, err = c.flag("dry_run")
	o.Update, wrong = c.flag("update")
	if err = cmp.Or(err, wrong); err != nil {
		return nil, err
	}
	if o.Group != "" && !identity.IsGroup(o.Group) {
		return nil, errorf(http.StatusBadRequest, "group is %q; the name of a group is %s", o.Group, identity.GroupRule)
	}
	c.unhurried()
	spool, err := c.spool()
	if err != nil {
		return nil, err
	}
	defer func() { _ = spool.Close() }()
	written := &sink{Writer: spool}
	if _, err := io.Copy(written, c.Req.Body); err != nil {
		if written.err != nil {
			return nil, noRoom(written.err)
		}
		return nil, errorf(http.StatusBadRequest, "the file broke off, and nothing of it has been taken: %v", err)
	}
	c.beginLines()
	out := http.NewResponseController(c.W)
	lines := json.NewEncoder(c.W)
	o.Tell = func(e transfer.Event) error {
		err := lines.Encode(e)
		if e.Progress != nil {
			_ = out.Flush()
		}
		return err
	}
	report, err := transfer.Import(c.Context(), c.Accounts, spool, o)
	if err != nil && c.Context().Err() == nil {
		_ = lines.Encode(map[string]any{"error": asError(err).Error(), "report": report})
	}
	if report != nil && !o.DryRun {
		c.Realm.Logger.Info("accounts have been imported over the admin endpoint", zap.String("format", o.Format), zap.Int("added", report.Added), zap.Int("updated", report.Updated), zap.Int("refused", report.Refused), zap.Error(err))
	}
	return answered, nil
}

// sink knows whether it was the writing that failed.
type sink struct {
	io.Writer
	err error
}

func (s *sink) Write(p []byte) (n int, err error) {
	n, err = s.Writer.Write(p)
	s.err = err
	return n, err
}

// accountsHeader says how many accounts an answer has.
const accountsHeader = "Accounts"

// sealedHeader says of how many the second step can't be taken along.
const sealedHeader = "Sealed-Factors"
