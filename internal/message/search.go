package message

import (
	"bytes"
	"io"
	"unicode/utf8"

	"rookery/internal/errkind"
)

// Key is a search string, prepared once per command. Matching is by substring
// and without case (RFC 3501 §6.4.4), compared as appendFold says.
//
// It owns buffers that are used again, so each goroutine needs a Clone.
type Key struct {
	folded                  []byte
	wide                    bool   // folded is not all ASCII: no text of ASCII holds it
	rare                    int    // the place of the character that is rarest in texts
	value, text, hay, chunk []byte // scratch
	stack                   []*Part
	body                    []byte
}

// Clone gives a Key for another goroutine.
func (k *Key) Clone() *Key { return newKey(k.folded) }

func newKey(folded []byte) *Key {
	return &Key{folded: folded, wide: !ascii(folded), rare: rarest(folded)}
}

// NewKey reads a search string in the command's charset (empty: US-ASCII, where
// UTF-8 is tolerated). A charset that is not known is an error of kind Invalid;
// the answer to it is NO [BADCHARSET …].
func NewKey(charset string, text []byte) (*Key, error) {
	if charset != "" {
		if _, ok := Decoder(charset); !ok {
			return nil, errkind.Newf("search", errkind.Invalid, "unknown charset")
		}
	}
	return newKey(appendFold(nil, appendDecoded(nil, charset, text))), nil
}

// Empty reports whether the key is the empty string, which matches everything.
func (k *Key) Empty() bool { return len(k.folded) == 0 }

// InString reports whether the key is in a text of UTF-8.
func (k *Key) InString(s string) bool {
	return k.Empty() || k.inBytes([]byte(s))
}

// inBytes looks for the key in a text of UTF-8.
func (k *Key) inBytes(text []byte) bool {
	k.hay = appendFold(k.hay[:0], text)
	return bytes.Contains(k.hay, k.folded)
}

// inValue looks for the key in an unfolded header value.
func (k *Key) inValue(value []byte) bool {
	k.text = DecodeHeader(k.text[:0], value)
	return k.inBytes(k.text)
}

// InHeader reports whether a field of this name in the root's header contains
// the key, encoded-words decoded. An empty key asks whether there is such a
// field at all (RFC 3501 §6.4.4, HEADER). The error is the reader's.
func (k *Key) InHeader(r io.ReaderAt, root *Part, name string, lim Limits) (bool, error) {
	hr := NewHeaderReader(r, root.Header(), lim)
	for hr.Next() {
		f := hr.Field()
		if !f.Is(name) {
			continue
		}
		if k.Empty() {
			return true, nil
		}
		k.value = f.Unfolded(k.value[:0])
		if k.inValue(k.value) {
			return true, nil
		}
	}
	return false, hr.Err()
}

// InText reports whether the key is in the header or the body (TEXT).
func (k *Key) InText(r io.ReaderAt, root *Part, lim Limits) (bool, error) {
	if k.Empty() {
		return true, nil
	}
	if found, err := k.inWholeHeader(r, root.Header(), lim); found || err != nil {
		return found, err
	}
	return k.inParts(r, root, lim, true)
}

// InBody reports whether the key is in the body (BODY): in a text part, transfer
// encoding and charset decoded. It is in no header of a part or of a message within
// (RFC 9051 §6.4.4: "Unlike TEXT …, this doesn't match any header fields"). Other types
// are not looked into, as RFC 3501 §6.4.4 allows. Parts that cannot be decoded are
// searched as far as they can.
func (k *Key) InBody(r io.ReaderAt, root *Part, lim Limits) (bool, error) {
	return k.inParts(r, root, lim, false)
}

// inParts looks for the key in the text parts, and in the headers of parts if these
// count.
func (k *Key) inParts(r io.ReaderAt, root *Part, lim Limits, headers bool) (bool, error) {
	if k.Empty() {
		return true, nil
	}
	lim = lim.filled()
	stack := []*Part{root}
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if headers && p != root {
			if found, err := k.inWholeHeader(r, p.Header(), lim); found || err != nil {
				return found, err
			}
		}
		for i := len(p.Children) - 1; i >= 0; i-- {
			stack = append(stack, p.Children[i])
		}
		if len(p.Children) == 0 && p.IsText() {
			w := &watched{r: r}
			found, _ := k.InReader(p.TextReader(w))
			if found || w.err != nil {
				return found, w.err
			}
		}
	}
	return false, nil
}

// watched remembers the first error of a reader, so that it can be told from a
// decoder's opinion about broken text.
type watched struct {
	r   io.ReaderAt
	err error
}

// ReadAt implements io.ReaderAt. The readers above never ask beyond the size
// that the message had, so an end of file before that is an error.
func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.r.ReadAt(p, off)
	if err == io.EOF && n < len(p) {
		err = errShort()
	}
	if err != nil && err != io.EOF && w.err == nil {
		w.err = err
	}
	return n, err
}

// errShort is the error of a message that has fewer bytes than its size says.
func errShort() error {
	return errkind.Newf("read message", errkind.Corrupt, "it is shorter than its size says")
}

// inWholeHeader looks for the key in each field, name included.
func (k *Key) inWholeHeader(r io.ReaderAt, header Range, lim Limits) (bool, error) {
	if header.Len() == 0 {
		return false, nil
	}
	hr := NewHeaderReader(r, header, lim)
	for hr.Next() {
		f := hr.Field()
		k.value = append(k.value[:0], f.Name...)
		if f.Name != nil {
			k.value = append(k.value, ':', ' ')
		}
		k.value = f.Unfolded(k.value)
		if k.inValue(k.value) {
			return true, nil
		}
	}
	return false, hr.Err()
}

// searchChunk is how much decoded text is folded and searched at a time.
const searchChunk = 16 << 10

// InReader reports whether the key is in a text of UTF-8 that is read to its
// end, or to the match. Memory is a few chunks, or a few keys if that is more.
func (k *Key) InReader(r io.Reader) (bool, error) {
	if k.Empty() {
		return true, nil
	}
	// With chunks at least as long as the key the overlap is copied at most
	// once per byte read.
	if need := max(searchChunk, len(k.folded)); len(k.chunk) < need {
		k.chunk = make([]byte, need)
	}
	k.hay = k.hay[:0]
	keep := len(k.folded) - 1
	used := 0 // bytes of chunk that wait for the rest of a character
	for {
		n, err := fill(r, k.chunk[used:])
		n += used
		whole := n
		if err == nil {
			whole = wholeRunes(k.chunk[:n])
		}
		k.hay = appendFold(k.hay, k.chunk[:whole])
		if bytes.Contains(k.hay, k.folded) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		used = copy(k.chunk, k.chunk[whole:n])
		if len(k.hay) > keep {
			k.hay = k.hay[:copy(k.hay, k.hay[len(k.hay)-keep:])]
		}
	}
}

// fill reads until b is full; an error, io.EOF too, comes with what was read.
func fill(r io.Reader, b []byte) (n int, err error) {
	for idle := 0; n < len(b) && err == nil; idle++ {
		var m int
		if m, err = r.Read(b[n:]); m > 0 {
			n, idle = n+m, 0
		} else if idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// wholeRunes gives the length of b without a character that is cut at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				return len(b)
			}
			return i
		}
	}
	return len(b)
}
