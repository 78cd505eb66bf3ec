// picture_test.go: the size of a picture is what its decoder says; what is none, is none.

package letter_test

import (
	"bytes"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/letter"
)

func TestSizeOfPictures(t *testing.T) {
	for _, name := range []string{"a.png", "a.gif", "a.jpg"} {
		for _, size := range [][2]int{{1, 1}, {60, 20}, {300, 7}, {1, 4000}} {
			content, err := os.ReadFile(picture(t, name, size[0], size[1], false))
			require.NoError(t, err)
			want, format, err := image.DecodeConfig(bytes.NewReader(content))
			require.NoError(t, err)
			got, width, height := letter.SizeOf(content)
			require.Equal(t, []any{format, want.Width, want.Height}, []any{got, width, height})
			for cut := range min(len(content), 1000) { // what breaks off has the right size or none
				if _, width, height := letter.SizeOf(content[:cut]); width != 0 || height != 0 {
					require.Equal(t, []int{want.Width, want.Height}, []int{width, height}, cut)
				}
			}
		}
	}
	// A JPEG with what others write before its frame: a comment, fills, a restart.
	frame := "\xff\xc2\x00\x0b\x08\x00\x07\x01\x2c\x01\x01\x11\x00"
	for content, want := range map[string]string{
		"\xff\xd8" + frame: "jpeg", "\xff\xd8\xff\xfe\x00\x04hi\xff\xff" + frame: "jpeg", "\xff\xd8\xff\xd0" + frame: "jpeg",
		"\xff\xd8\xff\xfe\x00\x01" + frame: "", "\xff\xd8\xff\xda\x00\x02" + frame: "", "\xff\xd8\xff\xfe\xff\xff" + frame: "", "\xff\xd8hello": "",
		"<svg/>": "", "": "", "GIF89a": "", "\x89PNG\r\n\x1a\n": "", "RIFF\x00\x00\x00\x00WEBPVP8 ": "",
	} {
		format, width, height := letter.SizeOf([]byte(content))
		require.Equal(t, want, format, "%q", content)
		if want != "" {
			require.Equal(t, []int{300, 7}, []int{width, height})
		}
	}
}
