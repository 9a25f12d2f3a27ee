package crlf

import "bytes"

// Bare gives how many bare LFs are in a whole message: its CRLF form is so many
// octets longer.
func Bare(p []byte) int64 {
	if bytes.IndexByte(p, '\r') < 0 { // as most deliveries write them
		return int64(bytes.Count(p, []byte{'\n'}))
	}
	return Count(p, false)
}

// Append appends the CRLF form of a whole message to dst.
func Append(dst, p []byte) []byte {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return append(dst, p...)
		}
		if i > 0 && p[i-1] == '\r' {
			dst = append(dst, p[:i+1]...)
		} else {
			dst = append(append(dst, p[:i]...), '\r', '\n')
		}
		p = p[i+1:]
	}
}
