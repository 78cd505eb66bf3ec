// picture.go: the size of a picture, read from its head. Whoever looks at the mail decodes it; to
// link the decoders of three formats for two numbers would take 200 kB of the program.

package letter

import (
	"bytes"
	"encoding/binary"
)

// sizeOf returns the format of a picture that mail programs show, and its size in pixels; "": it
// is none.
func sizeOf(picture []byte) (format string, width, height int) {
	big, little := binary.BigEndian, binary.LittleEndian
	switch {
	case len(picture) >= 24 && bytes.HasPrefix(picture, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")):
		return "png", int(int32(big.Uint32(picture[16:]))), int(int32(big.Uint32(picture[20:]))) //nolint:gosec // who asks wants no negative size
	case len(picture) >= 10 && (bytes.HasPrefix(picture, []byte("GIF87a")) || bytes.HasPrefix(picture, []byte("GIF89a"))):
		return "gif", int(little.Uint16(picture[6:])), int(little.Uint16(picture[8:]))
	case bytes.HasPrefix(picture, []byte("\xff\xd8")):
		if width, height = sizeOfJPEG(picture[2:]); width > 0 {
			return "jpeg", width, height
		}
	}
	return "", 0, 0
}

// sizeOfJPEG finds the size among the segments of a JPEG (ITU-T T.81, B.1.1.4 and B.2.2), in its
// frame header: baseline, extended or progressive.
func sizeOfJPEG(segments []byte) (width, height int) {
	for len(segments) >= 4 && segments[0] == 0xff {
		marker := segments[1]
		switch {
		case marker == 0xff: // fills
			segments = segments[1:]
			continue
		case marker == 0xda || marker == 0xd9: // the picture itself, or its end
			return 0, 0
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd7: // alone
			segments = segments[2:]
			continue
		}
		length := 2 + int(binary.BigEndian.Uint16(segments[2:]))
		if length < 4 || length > len(segments) {
			return 0, 0
		}
		if marker >= 0xc0 && marker <= 0xc2 && length >= 9 {
			return int(binary.BigEndian.Uint16(segments[7:])), int(binary.BigEndian.Uint16(segments[5:]))
		}
		segments = segments[length:]
	}
	return 0, 0
}
