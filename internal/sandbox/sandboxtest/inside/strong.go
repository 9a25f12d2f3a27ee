//go:build !rookery_attack

package inside

import "rookery/internal/sandbox"

func takeAway(o sandbox.Options, p sandbox.Protection) sandbox.Options {
	if p != 0 {
		panic("this build cannot take protections away")
	}
	return o
}
