// Package proxyhdr reads the header of the PROXY protocol, versions 1 and 2,
// which HAProxy, stunnel and load balancers put before a client's bytes.
//
// Reading is strict: whatever the specification does not allow is an error,
// and the caller closes the connection. It is pure. Whether the sender may be
// believed is for the caller.
package proxyhdr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// MaxSize is the largest header in bytes that is taken: version 2 with some
// TLVs. Version 1 has at most 107.
const MaxSize = 4 << 10

const maxV1 = 107

// Header is what a proxy tells.
type Header struct {
	// Local: the proxy speaks for itself (a health check), or does not know the
	// addresses; those of the connection count.
	Local               bool
	Source, Destination netip.AddrPort // invalid if Local, or for other families
	TLS                 bool           // the client's connection to the proxy is TLS
	TLSVersion          string         // as the proxy writes it: "TLSv1.3"
	TLSCipher           string
	Authority           string // the host name that the client asked for (SNI)
}

// ErrIncomplete says that more bytes are needed.
var ErrIncomplete = errors.New("PROXY header is not complete")

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// Parse reads the header at the start of p and gives its length. ErrIncomplete
// if p may be the start of one; any other error means that it is none.
func Parse(p []byte) (h Header, n int, err error) {
	if n := min(len(p), len(signature)); bytes.Equal(p[:n], signature[:n]) {
		return parseV2(p)
	}
	const v1 = "PROXY "
	if n := min(len(p), len(v1)); string(p[:n]) != v1[:n] {
		return h, 0, errors.New("no PROXY header")
	}
	end := bytes.Index(p[:min(len(p), maxV1)], []byte("\r\n"))
	switch {
	case end >= 0:
		h, err = parseV1(string(p[len(v1):end]))
		return h, end + 2, err
	case len(p) >= maxV1:
		return h, 0, errors.New("PROXY header without an end")
	}
	return h, 0, ErrIncomplete
}

// parseV1 reads what stands between "PROXY " and CRLF (specification §2.1).
func parseV1(s string) (Header, error) {
	if s == "UNKNOWN" || strings.HasPrefix(s, "UNKNOWN ") {
		return Header{Local: true}, nil
	}
	f := strings.Split(s, " ")
	if len(f) != 5 || f[0] != "TCP4" && f[0] != "TCP6" {
		return Header{}, errors.New("PROXY header with wrong fields")
	}
	source, err := addrV1(f[1], f[3], f[0] == "TCP4")
	if err != nil {
		return Header{}, err
	}
	destination, err := addrV1(f[2], f[4], f[0] == "TCP4")
	return Header{Source: source, Destination: destination}, err
}

func addrV1(ip, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("PROXY header with the address %.64q", ip)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("PROXY header with the port %.16q", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

const headSize = 16

// parseV2 reads the binary form (specification §2.2).
func parseV2(p []byte) (h Header, n int, err error) {
	if len(p) < headSize {
		return h, 0, ErrIncomplete
	}
	n = headSize + int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case p[12]>>4 != 2:
		return h, 0, fmt.Errorf("PROXY header of version %d", p[12]>>4)
	case p[12]&15 > 1:
		return h, 0, fmt.Errorf("PROXY header with command %d", p[12]&15)
	case n > MaxSize:
		return h, 0, fmt.Errorf("PROXY header of %d bytes", n)
	case len(p) < n:
		return h, 0, ErrIncomplete
	}
	if p[12]&15 == 0 {
		// LOCAL: the rest, even a wrong one, is to be ignored.
		return Header{Local: true}, n, nil
	}
	body, err := h.addresses(p[13], p[headSize:n])
	if err != nil {
		return Header{}, 0, err
	}
	if err := h.tlvs(body, p[:n]); err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// addresses reads the address block and gives what follows it.
func (h *Header) addresses(family byte, body []byte) ([]byte, error) {
	size := map[byte]int{0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
	n, ok := size[family]
	if !ok || len(body) < n {
		return nil, fmt.Errorf("PROXY header with family %#02x and %d bytes", family, len(body))
	}
	switch family {
	case 0x11:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[4:])), binary.BigEndian.Uint16(body[10:]))
	case 0x21:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[16:])).Unmap(), binary.BigEndian.Uint16(body[34:]))
	case 0x00, 0x31:
		h.Local = true // no addresses of the Internet: those of the connection count
	default:
		return nil, errors.New("PROXY header of a datagram")
	}
	return body[n:], nil
}

// Types of TLVs (specification §2.2).
const (
	tlvAuthority  = 0x02
	tlvCRC        = 0x03
	tlvSSL        = 0x20
	tlvSSLVersion = 0x21
	tlvSSLCipher  = 0x23
)

func (h *Header) tlvs(body, whole []byte) error {
	return eachTLV(body, func(kind byte, value []byte) error {
		switch kind {
		case tlvAuthority:
			h.Authority = clip(value, 255)
		case tlvCRC:
			return checkCRC(value, whole)
		case tlvSSL:
			return h.ssl(value)
		}
		return nil
	})
}

func eachTLV(body []byte, f func(kind byte, value []byte) error) error {
	for len(body) > 0 {
		if len(body) < 3 || len(body)-3 < int(binary.BigEndian.Uint16(body[1:])) {
			return errors.New("PROXY header with a cut TLV")
		}
		n := 3 + int(binary.BigEndian.Uint16(body[1:]))
		if err := f(body[0], body[3:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// ssl is client (1 byte), verify (4 bytes), then TLVs. Bit 0 of client says
// that the client's connection is TLS.
func (h *Header) ssl(value []byte) error {
	if len(value) < 5 {
		return errors.New("PROXY header with a cut TLS part")
	}
	h.TLS = value[0]&1 != 0
	return eachTLV(value[5:], func(kind byte, value []byte) error {
		switch kind {
		case tlvSSLVersion:
			h.TLSVersion = clip(value, 16)
		case tlvSSLCipher:
			h.TLSCipher = clip(value, 64)
		}
		return nil
	})
}

// checkCRC compares with the CRC-32C of the header, its own value taken as 0.
func checkCRC(value, whole []byte) error {
	if len(value) != 4 {
		return errors.New("PROXY header with a cut checksum")
	}
	want := binary.BigEndian.Uint32(value)
	at := cap(whole) - cap(value) // value lies within whole, and both end where their array does
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, whole[:at])
	sum = crc32.Update(sum, table, make([]byte, 4))
	sum = crc32.Update(sum, table, whole[at+4:])
	if sum != want {
		return errors.New("PROXY header with a wrong checksum")
	}
	return nil
}

// clip makes a short text of printable ASCII for logs.
func clip(b []byte, limit int) string {
	b = bytes.Clone(b[:min(len(b), limit)])
	for i, c := range b {
		if c <= ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
