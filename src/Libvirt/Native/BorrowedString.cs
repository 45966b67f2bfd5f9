// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Tidemark.Libvirt.Native;

/// <summary>
/// Marshals a <c>const char *</c> result that the library keeps. Owned results use the ordinary UTF-8 marshalling, which releases them
/// with free().
/// </summary>
[CustomMarshaller(typeof(string), MarshalMode.ManagedToUnmanagedOut, typeof(BorrowedString))]
internal static unsafe class BorrowedString
{
    public static string? ConvertToManaged(byte* text) => Marshal.PtrToStringUTF8((nint)text);
}
