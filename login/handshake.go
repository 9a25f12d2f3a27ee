package login

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"rookery/login/internal/prelogin"
	"rookery/login/internal/proxyhdr"
)

// handshake begins TLS. What the client sent before and was read is gone;
// what was not read yet must be its hello.
func (c *session) handshake() error {
	c.conn.SetInstant(false)
	c.conn.SetWriteDeadline(time.Now().Add(c.srv.cfg.timeout))
	if c.isKicked() != nil { // it came before the deadline was set
		return errKicked
	}
	t := tls.Server(c.conn, c.srv.tls.Config(c.l.service))
	c.tlsState = "TLS handshaking"
	if err := t.Handshake(); err != nil {
		if c.isKicked() == nil {
			c.tlsState = "TLS handshaking: " + handshakeError(err)
		}
		return err
	}
	c.tls, c.tlsState = t, ""
	version, cipher := c.tlsWords()
	c.debugf("%s with %s", version, cipher)
	if name := t.ConnectionState().ServerName; len(name) <= 255 {
		c.serverName = prelogin.Text(name, "")
	}
	return nil
}

// handshakeError gives the cause in a few words. crypto/tls quotes what a
// stranger sent; the log line takes what can be printed.
func handshakeError(err error) string {
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF):
		return "the client closed the connection"
	case errors.As(err, &header):
		return "the client does not speak TLS"
	}
	text := err.Error()
	if len(text) > 200 {
		text = text[:200]
	}
	return text
}

// refusedProxy is why a connection to a listener with haproxy = true ended.
type refusedProxy struct{ why string }

func (e *refusedProxy) Error() string { return "PROXY protocol: " + e.why }

// readProxyHeader reads the PROXY header, and not a byte more: what follows is
// TLS's or the protocol's.
func (c *session) readProxyHeader() error {
	cfg := c.srv.cfg
	if c.realRemote.IsValid() && !contains(cfg.haproxyTrusted, c.realRemote.Addr()) {
		return &refusedProxy{"the sender is not in haproxy_trusted_networks"}
	}
	timer := time.AfterFunc(cfg.haproxyTimeout, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	buf := make([]byte, proxyhdr.MaxSize)
	var h proxyhdr.Header
	var size int
	parseErr := proxyhdr.ErrIncomplete
	_, err := c.conn.Peek(buf, func(p []byte) bool {
		h, size, parseErr = proxyhdr.Parse(p)
		return !errors.Is(parseErr, proxyhdr.ErrIncomplete)
	})
	if err == nil && parseErr == nil {
		_, err = io.ReadFull(c.conn, buf[:size])
	}
	inTime := timer.Stop()
	switch {
	case c.isKicked() != nil:
		return errKicked
	case !inTime:
		return &refusedProxy{fmt.Sprintf("no header within the %v of haproxy_timeout", cfg.haproxyTimeout)}
	case err != nil:
		return &refusedProxy{"the connection ended before its header"}
	case parseErr != nil:
		return &refusedProxy{parseErr.Error()}
	}
	if err := c.clearReadDeadline(); err != nil || h.Local {
		return err
	}
	c.remote, c.local = h.Source, h.Destination
	c.proxyTLS, c.proxyVersion, c.proxyCipher, c.serverName = h.TLS, h.TLSVersion, h.TLSCipher, h.Authority
	if !c.srv.replace(c) {
		return &refusedProxy{fmt.Sprintf("too many connections of %v that have not logged in, login_unauthenticated_userip_limit=%d", h.Source.Addr(), cfg.perAddress)}
	}
	return nil
}
