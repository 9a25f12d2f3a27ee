package proxyhdr

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

func v2(command, family byte, body ...byte) string {
	b := append([]byte(nil), signature...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

func tlv(kind byte, value ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value))), value...)
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

var (
	ip4 = []byte{192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x67, 0x03, 0xe1}
	ip6 = join(netip.MustParseAddr("2001:db8::9").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice(), []byte{0x12, 0x67, 0x03, 0xe1})
	ssl = tlv(tlvSSL, join([]byte{1, 0, 0, 0, 0}, tlv(tlvSSLVersion, []byte("TLSv1.3")...), tlv(tlvSSLCipher, []byte("TLS_AES_128_GCM_SHA256")...))...)
)

// withCRC puts a checksum TLV at the end; wrong says by how much it is off.
func withCRC(wrong uint32) string {
	b := []byte(v2(1, 0x11, join(ip4, tlv(tlvCRC, 0, 0, 0, 0))...))
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) + wrong
	binary.BigEndian.PutUint32(b[len(b)-4:], sum)
	return string(b)
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestParse(t *testing.T) {
	v4 := Header{Source: addr("192.0.2.9:4711"), Destination: addr("198.51.100.1:993")}
	v6 := Header{Source: addr("[2001:db8::9]:4711"), Destination: addr("[2001:db8::1]:993")}
	withTLS := v4
	withTLS.TLS, withTLS.TLSVersion, withTLS.TLSCipher, withTLS.Authority = true, "TLSv1.3", "TLS_AES_128_GCM_SHA256", "mail.example.test"
	good := []struct {
		in   string
		want Header
	}{
		{"PROXY TCP4 192.0.2.9 198.51.100.1 4711 993\r\n", v4},
		{"PROXY TCP6 2001:db8::9 2001:db8::1 4711 993\r\n", v6},
		{"PROXY UNKNOWN\r\n", Header{Local: true}},
		{"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", Header{Local: true}},
		{v2(1, 0x11, ip4...), v4},
		{v2(1, 0x21, ip6...), v6},
		{v2(0, 0x00), Header{Local: true}},
		{v2(0, 0x99, 1, 2, 3), Header{Local: true}},
		{v2(1, 0x00), Header{Local: true}},
		{v2(1, 0x31, make([]byte, 216)...), Header{Local: true}},
		{v2(1, 0x11, join(ip4, ssl, tlv(tlvAuthority, []byte("mail.example.test")...))...), withTLS},
		{v2(1, 0x11, join(ip4, tlv(tlvSSL, 0, 0, 0, 0, 0), tlv(0x04, 0, 0))...), v4},
		{withCRC(0), v4},
	}
	for _, test := range good {
		h, n, err := Parse([]byte(test.in + "a1 NOOP\r\n"))
		if err != nil || h != test.want || n != len(test.in) {
			t.Errorf("%q: %+v, %d, %v", test.in, h, n, err)
		}
		for i := range len(test.in) {
			if _, _, err := Parse([]byte(test.in[:i])); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%q: %v", test.in[:i], err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"a1 LOGIN ann secret\r\n", "PROXY\r\n", "PROXY TCP4 192.0.2.9 198.51.100.1 4711\r\n",
		"PROXY TCP4 192.0.2.9 198.51.100.1 4711 993 x\r\n", "PROXY TCP4 192.0.2.9  198.51.100.1 4711 993\r\n",
		"PROXY TCP4 2001:db8::9 2001:db8::1 4711 993\r\n", "PROXY TCP6 192.0.2.9 198.51.100.1 4711 993\r\n",
		"PROXY TCP4 192.0.2.09 198.51.100.1 4711 993\r\n", "PROXY TCP4 192.0.2.9 198.51.100.1 04711 993\r\n",
		"PROXY TCP4 192.0.2.9 198.51.100.1 65536 993\r\n", "PROXY TCP4 192.0.2.9 198.51.100.1 +1 993\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "PROXY UDP4 192.0.2.9 198.51.100.1 1 2\r\n", "PROXY UNKNOWNX\r\n",
		"PROXY " + strings.Repeat("x", 200) + "\r\n",
		strings.Replace(v2(1, 0x11, ip4...), "QUIT\n\x21", "QUIT\n\x31", 1),
		v2(2, 0x11, ip4...), v2(1, 0x12, ip4...), v2(1, 0x11, ip4[:11]...), v2(1, 0x41, ip4...),
		v2(1, 0x11, join(ip4, []byte{1, 0})...), v2(1, 0x11, join(ip4, []byte{1, 0, 9, 0})...),
		v2(1, 0x11, join(ip4, tlv(tlvSSL, 1, 0, 0, 0))...), v2(1, 0x11, join(ip4, tlv(tlvCRC, 1))...),
		v2(1, 0x11, make([]byte, MaxSize)...), withCRC(1),
	} {
		if h, _, err := Parse([]byte(in)); err == nil || errors.Is(err, ErrIncomplete) {
			t.Errorf("%q: %+v, %v", in, h, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.9 198.51.100.1 4711 993\r\n"))
	f.Add([]byte(v2(1, 0x21, join(ip6, ssl)...)))
	f.Add([]byte(withCRC(0)))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := Parse(in)
		if err != nil {
			return
		}
		if n <= 0 || n > len(in) || n > MaxSize {
			t.Fatalf("%d of %d bytes", n, len(in))
		}
		if h.Local == h.Source.IsValid() || h.Local == h.Destination.IsValid() {
			t.Fatalf("%+v", h)
		}
		if _, _, err := Parse(in[:n-1]); !errors.Is(err, ErrIncomplete) {
			t.Fatalf("a byte less gives %v", err)
		}
	})
}
