// bench_test.go: what hashing, verifying and validating cost.

package password

import (
	"strings"
	"testing"
)

func BenchmarkHash(b *testing.B) {
	for name, p := range map[string]Params{
		"default": DefaultParams,
		"rfc9106": {Memory: 64 * 1024, Passes: 3, Lanes: 4},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Hash("correct horse", p)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, encoded := range map[string]string{
		"argon2id":     dummy(DefaultParams),
		"bcrypt10":     "$2b$10$" + bcrypt53,
		"django260000": "pbkdf2_sha256$260000$salt$" + djangoKey,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Verify(encoded, "correct horse")
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	commonList() // not the loading
	longest := strings.Repeat("xy9.", MaxLength/4)
	for name, tt := range map[string]struct {
		password string
		values   []string
	}{
		"usual":   {"correct horse", []string{"jane", "jane.doe@example.com", "Jane", "Doe"}},
		"longest": {longest, []string{longest[:MaxLength-1], strings.Repeat("a ", MaxLength/2)}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				defaultValidators.Validate(tt.password, tt.values)
			}
		})
	}
}

func BenchmarkLoadCommon(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = loadCommon(commonGzip)
	}
}
