package moving

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/password"
)

// Whatever the file, reading it ends, and what comes of it is what Record promises.
func FuzzRead(f *testing.F) {
	for format, file := range samples {
		f.Add(format, file)
		f.Add(format, "\xff\xfe"+file)
		f.Add(format, file[:len(file)/2])
		f.Add(format, strings.ReplaceAll(file, "\n", "\r\n"))
	}
	f.Fuzz(func(t *testing.T, format, file string) {
		o := sampleOptions
		o.MaxRecord = 4 << 10
		for r, err := range Read(format, strings.NewReader(file), o) {
			if p, ok := errors.AsType[*Problem](err); ok {
				require.NotEmpty(t, p.Code)
				require.NotEmpty(t, p.Message)
				require.Positive(t, p.Line)
				continue
			}
			if err != nil {
				break
			}
			require.Positive(t, r.Line)
			require.NotEmpty(t, r.Username+r.Email+string(r.Own))
			if r.PasswordHash != "" {
				require.NoError(t, password.Check(r.PasswordHash))
			}
			for name, value := range r.Fields {
				switch value.(type) {
				case string, bool, int64, float64, nil:
				default:
					t.Fatalf("%s is a %T", name, value)
				}
			}
		}
	})
}
