package moving

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A hash of "secret" by bcrypt, and one by Argon2id.
const (
	bcryptHash = "$2y$04$1E4YxeTLjyBQcQFLbrGTmOKcs4WTvNUxkVNp5XaASbhhCm0JxBVAO"
	argonHash  = "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// outcome is what reading a file gave.
type outcome struct {
	records  []Record
	problems []string
	end      error
}

func readAll(format, file string, o Options) outcome {
	return readFrom(format, strings.NewReader(file), o)
}

func readFrom(format string, in io.Reader, o Options) (out outcome) {
	for r, err := range Read(format, in, o) {
		if p, ok := errors.AsType[*Problem](err); ok {
			out.problems = append(out.problems, p.Who+"|"+p.Code+"|"+p.Error())
			continue
		}
		if err != nil {
			out.end = err
			break
		}
		out.records = append(out.records, r)
	}
	return out
}

func p[T any](v T) *T { return &v }

// A case of a format: a file, the records and the problems in it, and what ends it.
type fileCase struct {
	name, file string
	options    Options
	records    []Record
	problems   []string
	end        string
}

func runFileCases(t *testing.T, format string, cases []fileCase) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got := readAll(format, tt.file, tt.options)
			if tt.end == "" {
				assert.NoError(t, got.end)
			} else {
				assert.ErrorContains(t, got.end, tt.end)
			}
			assert.Equal(t, tt.records, got.records)
			assert.Len(t, got.problems, len(tt.problems), "%q", got.problems)
			for i, want := range tt.problems {
				if i < len(got.problems) {
					assert.Contains(t, got.problems[i], want)
				}
			}
		})
	}
}

func TestCSV(t *testing.T) {
	joined := time.Date(2019, 5, 4, 10, 11, 12, 345678000, time.UTC)
	runFileCases(t, "csv", []fileCase{
		{
			name: "every column", file: "id,username,email,email_verified,first_name,last_name,is_active,is_staff,groups,date_joined,last_login,password_hash,company,Age\n" +
				`7,ada,ada@example.com,true,Ada,"Love, lace",1,no,"admins, staff,",2019-05-04 10:11:12.345678+00:00,1556964672,` + bcryptHash + ",Analytical,36\n",
			records: []Record{{
				Line: 2, ID: "7", Username: "ada", Email: "ada@example.com", EmailVerified: p(true), FirstName: "Ada", LastName: "Love, lace",
				IsActive: p(true), IsStaff: p(false), Groups: []string{"admins", "staff"}, Joined: joined, LastLogin: joined.Truncate(time.Second),
				PasswordHash: bcryptHash, Fields: map[string]any{"company": "Analytical", "Age": "36"},
			}},
		},
		{
			name: "a spreadsheet's: BOM, semicolons, CRLF, capitals, a line break in a field", file: "\uFEFFUsername;EMAIL;password;note\r\nåsa;a@example.com;pass word;\"two\r\nlines\"\r\n用户;b@example.com;x;\r\n",
			records: []Record{
				{Line: 2, Username: "åsa", Email: "a@example.com", Password: "pass word", Fields: map[string]any{"note": "two\nlines"}},
				{Line: 4, Username: "用户", Email: "b@example.com", Password: "x", Fields: map[string]any{"note": ""}},
			},
		},
		{
			name: "tabs", file: "username\temail\nada\ta,b@example.com\n",
			records: []Record{{Line: 2, Username: "ada", Email: "a,b@example.com"}},
		},
		{
			name: "what is wrong with a line doesn't touch the next", file: "username,email,is_active,date_joined,password,password_hash\n" +
				"ada,a@example.com,maybe,,,\nbea,b@example.com,,yesterday,,\ncat,c@example.com\n\"d\"d,,,,,\n,,,,,\neve,,,,,$1$x\nfay,,,,,\"$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n" +
				"gus,,,,clear," + bcryptHash + "\nhal,,,,,!x\nian,,,,,bcrypt$" + bcryptHash + "\nh\xe9l,,,,,\nivy,,,99999999999999999,,\njoe,,,,,\n" + strings.Repeat("k", 300) + ",,,,,x\n",
			problems: []string{
				"ada|syntax|line 2, is_active: ", "bea|syntax|line 3, date_joined: ", "|syntax|line 4: it has 2 columns, the header has 6", "|syntax|line 5: a quote",
				"|required|line 6: ", "eve|hash_unsupported|line 7, password_hash: ", "fay|hash_cost|line 8, password_hash: ", "gus|twice|line 9, password: ",
				"h?l|encoding|line 12, username: ", "ivy|syntax|line 13, date_joined: ", strings.Repeat("k", 200) + "|hash_unsupported|line 15",
			},
			records: []Record{{Line: 10, Username: "hal"}, {Line: 11, Username: "ian", PasswordHash: bcryptHash}, {Line: 14, Username: "joe"}},
		},
		{
			name: "hashes that stand for passwords, and passwords that only look so", file: "username,password\nada," + bcryptHash + "\nbea,pbkdf2_sha256$260000$salt$7zbpRVHDcqAYrBCiF1wl5yGYMTVMvuCCsPYN0TKW/Cc=\n" +
				"cat,\"$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\ndan,{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n" +
				"eve,0123456789abcdef0123456789abcdef\nfay,$2b$ is how it begins\ngus,a {b} $c$\n",
			problems: []string{"ada|password_hashed|line 2, password: ", "bea|password_hashed|line 3, password: ", "cat|password_hashed|line 4, password: ", "dan|password_hashed|line 5, password: "},
			records: []Record{
				{Line: 6, Username: "eve", Password: "0123456789abcdef0123456789abcdef"}, {Line: 7, Username: "fay", Password: "$2b$ is how it begins"}, {Line: 8, Username: "gus", Password: "a {b} $c$"},
			},
		},
		{name: "a quote in a bare field", file: "username\na\"b\nada\n", problems: []string{"|syntax|line 2: a quote stands in"}, records: []Record{{Line: 3, Username: "ada"}}},
		{name: "other fields and groups not in UTF-8", file: "username,groups,note\na,x\xff,\nb,,\xff\n", problems: []string{"a|encoding|line 2, groups", "b|encoding|line 3, note"}},
		{name: "an empty file", file: "", end: "its first line has to name the columns"},
		{name: "no header", file: "ada,ada@example.com\n", end: `neither a column "username" nor "email"`},
		{name: "a column twice", file: "username,Username\n", end: `the column "username" twice`},
		{name: "a column without a name", file: "username,\n", end: "has no name"},
		{name: "a broken header", file: "a\"b\n", end: "the header can't be read: line 1: a quote"},
		{name: "too many columns", file: "username" + strings.Repeat(",x", 1000) + "\n", end: "has 1001 columns; at most 1000"},
		{
			name: "an endless field", file: "username\nada\n\"" + strings.Repeat("x", 1<<20), options: Options{MaxRecord: 1 << 10},
			records: []Record{{Line: 2, Username: "ada"}}, end: "line 3: the record that begins here is longer than 1024 bytes",
		},
	})
}

func TestCSVInUTF16(t *testing.T) {
	var file []byte
	for _, u := range utf16.Encode([]rune("\uFEFFusername,first_name\nада,Ада\n")) {
		file = binary.LittleEndian.AppendUint16(file, u)
	}
	require.Equal(t, outcome{records: []Record{{Line: 2, Username: "ада", FirstName: "Ада"}}}, readAll("csv", string(file), Options{}))
}

func TestHtpasswd(t *testing.T) {
	runFileCases(t, "htpasswd", []fileCase{
		{
			name: "lines of htpasswd, nginx and Caddy", file: "\uFEFF# of the wiki\r\n\r\nada:" + bcryptHash + "\r\nbea:" + bcryptHash + ":a note:b\n  cat\t" + bcryptHash + "\n" +
				"dan JDJ5JDA0JDFFNFl4ZVRManlCUWNRRkxickdUbU9LY3M0V1R2TlV4a1ZOcDVYYUFTYmhoQ20wSnhCVkFP",
			records: []Record{
				{Line: 3, Username: "ada", PasswordHash: bcryptHash},
				{Line: 4, Username: "bea", PasswordHash: bcryptHash},
				{Line: 5, Username: "cat", PasswordHash: bcryptHash},
				{Line: 6, Username: "dan", PasswordHash: bcryptHash},
			},
		},
		{
			name: "problems", file: "ada\nbea:\n:" + bcryptHash + "\ncat:plain\ndan:abJnggxhB/yWI\nJDJ:JDJ\n" + strings.Repeat("x", 200000) + "\neve:" + bcryptHash, options: Options{MaxRecord: 1000},
			problems: []string{
				"|syntax|line 1: ", "bea|required|line 2, password_hash", "|required|line 3", "cat|hash_unsupported|line 4", "dan|hash_unsupported|line 5",
				"JDJ|hash_unsupported|line 6", "|too_long|line 7: the line is longer than 1000 bytes",
			},
			records: []Record{{Line: 8, Username: "eve", PasswordHash: bcryptHash}},
		},
		{name: "nothing", file: "", end: "there is no account in the file"},
	})
}

func TestFormats(t *testing.T) {
	require.Contains(t, Formats(), "csv")
	got := readAll("xml", "", Options{})
	require.ErrorContains(t, got.end, `there is no format "xml"; the formats are `)
	require.Equal(t, "line 3: x", (&Problem{Line: 3, Message: "x"}).Error())
}

// Who has seen enough is not given more, of any format.
func TestReadStops(t *testing.T) {
	for format, file := range samples {
		t.Run(format, func(t *testing.T) {
			n := 0
			for range Read(format, strings.NewReader(file), sampleOptions) {
				n++
				break
			}
			require.Equal(t, 1, n)
		})
	}
}

// A file that can't be read any further says so, of any format and wherever that is.
func TestReadFails(t *testing.T) {
	for format, file := range samples {
		for _, at := range []int{0, len(file) / 2, len(file) - 1} {
			in := io.MultiReader(strings.NewReader(file[:at]), failing{})
			require.ErrorIs(t, readFrom(format, in, sampleOptions).end, errFails, "%s at %d", format, at)
		}
	}
}

var errFails = errors.New("the disk fails")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFails }

// samples have a file of each format, with at least one record.
var (
	samples = map[string]string{
		"csv":      "username,email,password_hash\nada,ada@example.com," + bcryptHash + "\nbea,bea@example.com,\n",
		"htpasswd": "ada:" + bcryptHash + "\nbea:" + bcryptHash + "\n",

		"ndjson":         `{"username":"ada","password_hash":"` + bcryptHash + `"}` + "\n" + `{"username":"bea","fields":{"x":1}}` + "\n",
		"django":         "[" + djangoGroups + ",\n" + djangoUsers + "]",
		"authelia":       autheliaSample,
		"caddy-security": caddySecuritySample,
		"wordpress":      `[{"ID":1,"user_login":"ada","user_pass":"$P$BZK6TIR5gFtPev/sKnyk75Olz7soHe."},{"user_login":"bea"}]`,
		"firebase":       firebaseSample,
		"supabase":       `[{"id":"1","email":"ada@example.com","encrypted_password":"` + bcryptHash + `"},{"email":"bea@example.com"}]`,
		"keycloak":       strings.ReplaceAll(keycloakSample, "serviceAccountClientId", "x"),
	}
	sampleOptions = Options{Firebase: firebaseKey}
)

func TestEveryFormatHasASample(t *testing.T) {
	for _, format := range Formats() {
		got := readAll(format, samples[format], sampleOptions)
		require.NoError(t, got.end, format)
		require.Empty(t, got.problems, format)
		require.NotEmpty(t, got.records, format)
	}
}

// What a hostile file asks for is not computed but told by line: a thousand hashes of
// 4 GiB, N=2^30 and 10^9 rounds take as long as a thousand lines.
func TestHostileHashesCostNothing(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	hostile := []string{
		"$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + key, "argon2$argon2i$v=19$m=64,t=1000000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + key,
		"scrypt$1073741824$salt$8$1$" + key + "=", "$scrypt$ln=30,r=8,p=1$AAAA$" + key, "$fbscrypt$v=1,n=30,r=8,p=1,ss=Bw==,sk=AAAAAAAAAAAAAAAAAAAAAAAA$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA",
		"pbkdf2_sha256$1000000000$salt$" + key + "=", "$pbkdf2-sha512$1000000000$AAAA$" + key, "$6$rounds=1000000000$salt$x", "$5$rounds=999999999$salt$x",
		"$2b$31$" + bcryptHash[7:], "bcrypt_sha256$$2b$31$" + bcryptHash[7:], "$wp$2y$31$" + bcryptHash[7:], "$P$Ssaltsaltx",
		"$wrapped$md5$salt$$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + key, "$argon2id$" + strings.Repeat("x", 100_000),
	}
	var file strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&file, "u%d:%s\n", i, hostile[i%len(hostile)])
	}
	begin := time.Now()
	got := readAll("htpasswd", file.String(), Options{})
	require.Less(t, time.Since(begin), time.Minute)
	require.NoError(t, got.end)
	require.Empty(t, got.records)
	require.Len(t, got.problems, 1000)
	for i, problem := range got.problems {
		require.Contains(t, problem, fmt.Sprintf("u%d|hash_cost|line %d, password_hash: the hash is refused: ", i, i+1))
		require.Less(t, len(problem), 300)
	}
}
