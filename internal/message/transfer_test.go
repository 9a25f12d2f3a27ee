package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestTransferReader(t *testing.T) {
	cases := []struct{ encoding, in, want string }{
		{"base64", "SGVs\r\nbG8=", "Hello"},
		{"BASE64", "SGVsbG8", "Hello"},
		{"base64", "SGVs*bG8=\r\n", "Hello"},
		{"base64", "SGVsbG8=SGVsbG8=", "HelloHello"},
		{"base64", "SGV", "He"},
		{"base64", "S", ""},
		{"base64", "====", ""},
		{"quoted-printable", "caf=C3=A9 =3D\r\nx", "caf\xc3\xa9 =\r\nx"},
		{"quoted-printable", "soft=\r\nbreak=\nagain", "softbreakagain"},
		{"quoted-printable", "soft= \t\r\nblanks", "softblanks"},
		{"quoted-printable", "trailing \t\r\nx  \ny ", "trailing\r\nx\ny"},
		{"quoted-printable", "a  b", "a  b"},
		{"quoted-printable", "=c3=a9=zz=4=", "\xc3\xa9=zz=4"},
		{"quoted-printable", "=", ""},
		{"quoted-printable", "=\r", ""},
		{"quoted-printable", "x=\rx", "x=\rx"},
		{"quoted-printable", "a" + strings.Repeat(" ", 250) + "b", "a" + strings.Repeat(" ", 250) + "b"},
		{"7bit", "x=20", "x=20"},
		{"", "x", "x"},
		{"x-unknown", "=41", "=41"},
		{"x-uuencode", "text\r\nbegin 644 f\r\n%2&5L;&\\\r\n`\r\nend\r\nmore", "Hello"},
		{"uuencode", "begin 644 f\n%2&5L", "Hel"},
		{"uuencode", "begin 644 f\n%2&5L;&\\" + strings.Repeat("#86)C", 5000) + "\n#86)C\n`\nend\n", "Helloabc"}, // a line without end
	}
	for _, c := range cases {
		for _, r := range []io.Reader{strings.NewReader(c.in), slowReader{strings.NewReader(c.in)}} {
			got, err := io.ReadAll(TransferReader(r, c.encoding))
			if err != nil || string(got) != c.want {
				t.Errorf("%s %q: got %q, %v; want %q", c.encoding, c.in, got, err, c.want)
			}
		}
	}
	if !KnownEncoding("Base64") || KnownEncoding("x-unknown") {
		t.Error("KnownEncoding is wrong")
	}
}

func FuzzTransferReader(f *testing.F) {
	f.Add("base64", []byte("SGVs\r\nbG8="))
	f.Add("quoted-printable", []byte("a=C3 \t=\r\n  \r\n=3D"))
	f.Add("uuencode", []byte("begin 644 f\n%2&5L;&\\\n`\nend\n"))
	f.Fuzz(func(t *testing.T, encoding string, in []byte) {
		once, err := io.ReadAll(TransferReader(bytes.NewReader(in), encoding))
		if err != nil || len(once) > len(in)+100 && encoding != "uuencode" {
			t.Fatalf("%d bytes, %v", len(once), err)
		}
		slow, err := io.ReadAll(TransferReader(slowReader{bytes.NewReader(in)}, encoding))
		if err != nil || !bytes.Equal(once, slow) {
			t.Fatalf("%s %q: %q at once, %q byte by byte, %v", encoding, in, once, slow, err)
		}
	})
}
