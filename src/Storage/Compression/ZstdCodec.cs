// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Tidemark.Storage;

/// <summary>
/// One compressor and one decompressor of libzstd, reused from call to call. Not for two threads at once; <see cref="ZstdPool"/> lends
/// them.
/// </summary>
internal sealed partial class ZstdCodec : IDisposable
{
    private const string Library = "libzstd.so.1";
    private readonly CompressContext _compress = CreateCompressContext();
    private readonly DecompressContext _decompress = CreateDecompressContext();

    /// <summary>Compresses; 0 when the result does not fit into <paramref name="target"/>.</summary>
    public int Compress(ReadOnlySpan<byte> source, Span<byte> target, int level)
    {
        var result = CompressNative(_compress, target, (nuint)target.Length, source, (nuint)source.Length, level);
        return IsError(result) != 0 ? 0 : (int)result;
    }

    /// <summary>Decompresses one frame; the plain length, or -1 when it is no valid frame or does not fit.</summary>
    public int Decompress(ReadOnlySpan<byte> source, Span<byte> target)
    {
        var result = DecompressNative(_decompress, target, (nuint)target.Length, source, (nuint)source.Length);
        return IsError(result) != 0 ? -1 : (int)result;
    }

    public void Dispose()
    {
        _compress.Dispose();
        _decompress.Dispose();
    }

    [LibraryImport(Library, EntryPoint = "ZSTD_createCCtx")]
    private static partial CompressContext CreateCompressContext();

    [LibraryImport(Library, EntryPoint = "ZSTD_createDCtx")]
    private static partial DecompressContext CreateDecompressContext();

    [LibraryImport(Library, EntryPoint = "ZSTD_freeCCtx")]
    private static partial nuint FreeCompressContext(nint context);

    [LibraryImport(Library, EntryPoint = "ZSTD_freeDCtx")]
    private static partial nuint FreeDecompressContext(nint context);

    [LibraryImport(Library, EntryPoint = "ZSTD_isError")]
    private static partial uint IsError(nuint code);

    [LibraryImport(Library, EntryPoint = "ZSTD_compressCCtx")]
    private static partial nuint CompressNative(
        CompressContext context, Span<byte> target, nuint capacity, ReadOnlySpan<byte> source, nuint length, int level);

    [LibraryImport(Library, EntryPoint = "ZSTD_decompressDCtx")]
    private static partial nuint DecompressNative(
        DecompressContext context, Span<byte> target, nuint capacity, ReadOnlySpan<byte> source, nuint length);

    private sealed class CompressContext() : SafeHandle(0, ownsHandle: true)
    {
        public override bool IsInvalid => handle == 0;

        protected override bool ReleaseHandle() => FreeCompressContext(handle) == 0;
    }

    private sealed class DecompressContext() : SafeHandle(0, ownsHandle: true)
    {
        public override bool IsInvalid => handle == 0;

        protected override bool ReleaseHandle() => FreeDecompressContext(handle) == 0;
    }
}
