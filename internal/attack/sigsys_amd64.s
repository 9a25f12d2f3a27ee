#include "textflag.h"

// func onSIGSYS()
// The kernel calls it as handler(sig, info, ucontext): the interrupted
// program's AX, the result of its system call, becomes -4000.
TEXT ·onSIGSYS(SB),NOSPLIT|NOFRAME,$0
	MOVQ $-4000, 144(DX)
	RET

// func restorer()
// The handler returns here; rt_sigreturn leads back to the program.
TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0
	MOVQ $15, AX
	SYSCALL
	INT $3

// func addresses() (handler, restorer uintptr)
TEXT ·addresses(SB),NOSPLIT,$0-16
	MOVQ $·onSIGSYS(SB), AX
	MOVQ AX, handler+0(FP)
	MOVQ $·restorer(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
