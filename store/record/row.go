// row.go: rows that are carried from one store to another.

package record

import (
	"fmt"

	"github.com/seed-928992b0/caddy-registration/store"
)

// keySizes are those of keys that have one, in bytes.
var keySizes = map[store.RowKind]int{
	store.RowAccount: 16, store.RowSession: 32, store.RowMail: 8, store.RowInvitation: 16, store.RowAudit: 8, store.RowLeftName: len(store.NameHash{}),
}

// CheckKey returns ErrDamaged where the key of a row has not the size that those of its kind have.
func CheckKey(row store.Row) error {
	if size := keySizes[row.Kind]; size != 0 && len(row.Key) != size {
		return fmt.Errorf("a key of %d bytes: %w", len(row.Key), ErrDamaged)
	}
	return nil
}
