package thread

import "strconv"

// piece is what is yet to be written: a node, or a closing parenthesis.
type piece struct {
	node  int32
	open  bool // in parentheses of its own
	close bool
}

// Append writes the threads as the THREAD response has them (RFC 5256 §4):
// "(2)(3 6 (4 23)(44 7 96))".
func (f *Forest) Append(dst []byte) []byte {
	var todo []piece
	for _, r := range f.roots {
		todo = append(todo[:0], piece{node: r, open: true})
		for len(todo) > 0 {
			p := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if p.close {
				dst = append(dst, ')')
				continue
			}
			if p.open {
				dst = append(dst, '(')
				todo = append(todo, piece{close: true})
			}
			dst, todo = f.appendNode(dst, todo, p.node)
		}
	}
	return dst
}

// appendNode writes a node's number and leaves its children to be written.
func (f *Forest) appendNode(dst []byte, todo []piece, n int32) ([]byte, []piece) {
	if !f.dummy(n) {
		dst = strconv.AppendUint(dst, uint64(f.msgs[n].Num), 10)
		if f.nodes[n].child != none {
			dst = append(dst, ' ')
		}
	}
	nested := f.nodes[n].child != f.nodes[n].last
	for c := f.nodes[n].last; c != none; c = f.nodes[c].prev { // the last is written last
		todo = append(todo, piece{node: c, open: nested})
	}
	return dst, todo
}
