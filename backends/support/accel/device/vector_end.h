/* SPDX-License-Identifier: Apache-2.0 */
/* Takes back the names of vector.h, for the next number of lanes. */
#undef F32
#undef F64
#undef I32
#undef I64
#undef U32
#undef U64
#undef S8
#undef S16
#undef U8
#undef U16
#undef HALF
#undef TO
#undef TO_RTZ
#undef AS
#undef PICK32
#undef PICK64
#undef SEL
