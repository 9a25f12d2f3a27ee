package imapmodel

import (
	"bytes"
	"compress/flate"
	"errors"

	"rookery/imapworker/internal/compress"
	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/imapwire"
	"rookery/internal/inflate"
	"rookery/internal/mailstore"
)

// line is a connection: what a session writes, and what its client sends. Once COMPRESS
// was answered both are deflated (RFC 4978): the session's end as the worker does it,
// the client's by the standard library and by a decoder of its own.
type line struct {
	peers.Output
	pool  *compress.Pool
	layer *compress.Layer // nil without compression
	raw   []byte          // deflated, for the client
	reads inflate.Decoder
	to    bytes.Buffer // deflated, for the server
	send  *flate.Writer
}

// squeeze begins with compression: it is session.Config's Compress.
func (l *line) squeeze() {
	l.layer = compress.New(l.pool, func(p []byte) error {
		l.raw = append(l.raw, p...)
		return nil
	})
	l.send, _ = flate.NewWriter(&l.to, flate.BestSpeed)
}

// Flush is for view.Output.
func (l *line) Flush(enc *imapwire.Encoder) error {
	if l.layer == nil {
		return l.Output.Flush(enc)
	}
	err := errors.Join(l.layer.Write(enc.Bytes()), l.layer.Flush())
	enc.Reset()
	return err
}

// Body is for view.Output.
func (l *line) Body(m mailstore.Message, off, n int64) error {
	if l.layer == nil {
		return l.Output.Body(m, off, n)
	}
	p := make([]byte, n)
	if got, err := m.ReadAt(p, off); int64(got) < n {
		return err
	}
	return errors.Join(l.layer.WriteBody(p), l.layer.Flush())
}

// Take gives what the client reads.
func (l *line) Take() ([]byte, error) {
	out := l.Output.Take()
	var buf [4 << 10]byte
	for len(l.raw) > 0 {
		n, used, err := l.reads.Decode(buf[:], l.raw)
		out, l.raw = append(out, buf[:n]...), l.raw[used:]
		if err != nil || n == 0 && used == 0 {
			return out, err
		}
	}
	for l.layer != nil { // what the decoder still has
		n, _, err := l.reads.Decode(buf[:], nil)
		if out = append(out, buf[:n]...); n == 0 || err != nil {
			return out, err
		}
	}
	return out, nil
}

// deliver gives the session what the client sends.
func (l *line) deliver(text string, input func(p []byte)) error {
	if l.layer == nil {
		input([]byte(text))
		return nil
	}
	if _, err := l.send.Write([]byte(text)); err != nil {
		return err
	}
	if err := l.send.Flush(); err != nil {
		return err
	}
	p := l.to.Bytes()
	var buf [4 << 10]byte
	for {
		n, used, err := l.layer.Decode(buf[:], p)
		p = p[used:]
		if n > 0 {
			input(buf[:n])
		}
		if err != nil {
			return err
		}
		if n < len(buf) && len(p) == 0 {
			l.to.Reset()
			return nil
		}
	}
}

// rest gives the compressor back, as the worker does after a while.
func (l *line) rest() {
	if l.layer != nil {
		l.layer.Rest()
	}
}
