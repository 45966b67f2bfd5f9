// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>
/// One virTypedParameter, 96 bytes: name[80], type at 80, value at 88.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe struct TypedParameter
{
    [FieldOffset(0)] private fixed byte _name[80];
    [FieldOffset(80)] private readonly int _type;
    [FieldOffset(88)] private readonly int _int32;
    [FieldOffset(88)] private readonly uint _uint32;
    [FieldOffset(88)] private readonly long _int64;
    [FieldOffset(88)] private readonly ulong _uint64;
    [FieldOffset(88)] private readonly double _double;
    [FieldOffset(88)] private readonly byte _boolean;
    [FieldOffset(88)] private readonly byte* _text;

    /// <summary>
    /// Integers become long (unsigned values above its range are capped), the others double, bool or string; unknown types are left
    /// out.
    /// </summary>
    internal static Dictionary<string, object> Read(TypedParameter* parameters, int count)
    {
        var values = new Dictionary<string, object>(StringComparer.Ordinal);
        for (var index = 0; index < count; index++)
        {
            var value = ValueOf(parameters[index]);
            if (value != null)
                values[Marshal.PtrToStringUTF8((nint)parameters[index]._name) ?? ""] = value;
        }
        return values;
    }

    private static object? ValueOf(in TypedParameter parameter) => parameter._type switch
    {
        1 => (long)parameter._int32, // VIR_TYPED_PARAM_INT
        2 => (long)parameter._uint32, // VIR_TYPED_PARAM_UINT
        3 => parameter._int64, // VIR_TYPED_PARAM_LLONG
        4 => (long)Math.Min(parameter._uint64, long.MaxValue), // VIR_TYPED_PARAM_ULLONG
        5 => parameter._double, // VIR_TYPED_PARAM_DOUBLE
        6 => parameter._boolean != 0, // VIR_TYPED_PARAM_BOOLEAN
        7 => Marshal.PtrToStringUTF8((nint)parameter._text) ?? "", // VIR_TYPED_PARAM_STRING
        _ => null,
    };
}
