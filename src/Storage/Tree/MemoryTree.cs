// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>The root of bytes in memory.</summary>
internal static class MemoryTree
{
    public static async Task<BlobId> RootAsync(RepositoryKeys keys, TreeShape shape, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        var builder = new TreeBuilder(shape, null, null, null, keys);
        var chunk = new byte[shape.ChunkSize];
        for (long index = 0; index < shape.ChunkCount; index++)
        {
            var part = content.Slice((int)(index << shape.ChunkLog2), shape.LengthOf(index));
            part.CopyTo(chunk);
            chunk.AsSpan(part.Length).Clear();
            if (chunk.AsSpan().IndexOfAnyExcept((byte)0) >= 0)
                await builder.SetAsync(index, keys.ChunkId(chunk), default, null, cancellationToken);
        }

        return (await builder.FinishAsync(cancellationToken)).Root;
    }
}
