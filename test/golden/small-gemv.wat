(module
  (import "env" "memory" (memory 1))
  (type $kernel (func (param i32 i32 i32)))
  (table (export "kernels") 1 1 funcref)
  (elem (i32.const 0) func $small_gemv)

  ;; y[r] = scale[r] · Σ w[r][i] · x[i], rows in lanes.
  ;;
  ;; u4 codes, i8 activations.
  (func $small_gemv (export "small_gemv") (param $arguments i32) (param $thread i32) (param $threads i32)
    (local $bits15 v128) (local $half_bits v128) (local $half_bias v128) (local $half_exponent v128)
    (local $half_scale v128) (local $half_normal v128) (local $sign v128) (local $sum v128)
    (local $w0 v128) (local $x0 v128) (local $x1 v128) (local $w1 v128) (local $s0 v128)
    (local $w2 v128) (local $vf0 v128) (local $vf1 v128) (local $vf2 v128) (local $t.v0 v128)
    (local $t.v1 v128)
    (local $weights i32) (local $x i32) (local $scales i32) (local $y i32) (local $blocks i32)
    (local $rows i32) (local $block i32) (local $p0 i32)
    local.get $arguments  i32.load                                  local.set $weights  ;; u4 × 2 [blocks][lanes × 4]
    local.get $arguments  i32.load offset=8                         local.set $x  ;; i8 [blocks × 8]
    local.get $arguments  i32.load offset=16                        local.set $scales  ;; f16 [lanes]
    local.get $arguments  i32.load offset=24                        local.set $y  ;; f32 [rows]
    local.get $arguments  i32.load offset=32                        local.set $blocks  ;; blocks of 8 inputs
    local.get $arguments  i32.load offset=40                        local.set $rows  ;; outputs to write
    v128.const i8x16 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf 0xf  local.set $bits15
    v128.const i32x4 0x7fff 0x7fff 0x7fff 0x7fff                    local.set $half_bits
    v128.const f32x4 0.5 0.5 0.5 0.5                                local.set $half_bias
    v128.const i32x4 0x70000000 0x70000000 0x70000000 0x70000000    local.set $half_exponent
    v128.const f32x4 1.92593e-34 1.92593e-34 1.92593e-34 1.92593e-34  local.set $half_scale
    v128.const i32x4 0x400 0x400 0x400 0x400                        local.set $half_normal
    v128.const i32x4 0x80000000 0x80000000 0x80000000 0x80000000    local.set $sign
    v128.const i32x4 0 0 0 0                                        local.set $sum
    i32.const 0                                                     local.set $block
    local.get $block  local.get $blocks  i32.lt_s  if
      loop $block
        local.get $weights  local.get $block  i32.const 16  i32.mul  i32.add  v128.load  local.set $w0
        local.get $x  local.get $block  i32.const 8  i32.mul  i32.add   local.set $p0
        local.get $p0  v128.load32_splat                                local.set $x0
        local.get $p0  v128.load32_splat offset=4                       local.set $x1
        local.get $w0  local.get $bits15  v128.and                      local.set $w1
        local.get $sum  local.get $w1  local.get $x0  i32.const 8  i16x8.shl  i32.const 8  i16x8.shr_s
            i32x4.dot_i16x8_s  local.get $w1  i32.const 8  i16x8.shr_u  local.get $x0  i32.const 8
            i16x8.shr_s  local.get $x0  i32.const 8  i16x8.shl  i16x8.sub  i32x4.dot_i16x8_s  i32x4.add
            i32x4.add                                                       local.set $s0
        local.get $w0  i32.const 4  i16x8.shr_u  local.get $bits15  v128.and  local.set $w2
        local.get $s0  local.get $w2  local.get $x1  i32.const 8  i16x8.shl  i32.const 8  i16x8.shr_s
            i32x4.dot_i16x8_s  local.get $w2  i32.const 8  i16x8.shr_u  local.get $x1  i32.const 8
            i16x8.shr_s  local.get $x1  i32.const 8  i16x8.shl  i16x8.sub  i32x4.dot_i16x8_s  i32x4.add
            i32x4.add                                                       local.set $s0
        local.get $s0                                                   local.set $sum
        local.get $block  i32.const 1  i32.add  local.tee $block  local.get $blocks  i32.lt_s
            br_if $block
      end
    end
    ;; one scale per row
    local.get $sum  f32x4.convert_i32x4_s                           local.set $vf0
    local.get $scales  v128.load16x4_s  local.tee $t.v0  local.get $half_bits  v128.and
        local.tee $t.v1  local.get $half_bias  v128.or  local.get $half_bias  f32x4.sub  local.get $t.v1
        i32.const 13  i32x4.shl  local.get $half_exponent  i32x4.add  local.get $half_scale  f32x4.mul
        local.get $half_normal  local.get $t.v1  i32x4.gt_s  v128.bitselect  local.get $t.v0
        local.get $sign  v128.and  v128.or                              local.set $vf1
    local.get $vf0  local.get $vf1  f32x4.mul                       local.set $vf2
    local.get $rows  i32.const 4  i32.eq  if
      local.get $y  local.get $vf2  v128.store
    else
      local.get $rows  i32.const 2  i32.and  if
        local.get $y  local.get $vf2  v128.store64_lane 0  local.get $rows  i32.const 1  i32.and  if
          local.get $y  local.get $vf2  v128.store32_lane offset=8 2
        end
      else
        local.get $rows  if
          local.get $y  local.get $vf2  v128.store32_lane 0
        end
      end
    end
  )

  ;; Runs steps of 64 bytes {i32 kernel, i32 flags, u64 argument block, …} in order, as thread 0 of 1.
  ;; Stops before a step when the i32 at $cancel is not 0. Returns how many steps were done.
  (func $run (export "run") (param $steps i32) (param $count i32) (param $cancel i32) (result i32)
    (local $done i32)
    block $stop
      loop $next
        local.get $done  local.get $count  i32.ge_s  br_if $stop
        local.get $cancel  i32.load  br_if $stop
        local.get $steps  i32.load offset=8  i32.const 0  i32.const 1
        local.get $steps  i32.load  call_indirect (type $kernel)
        local.get $steps  i32.const 64  i32.add  local.set $steps
        local.get $done  i32.const 1  i32.add  local.set $done
        br $next
      end
    end
    local.get $done
  )
)
