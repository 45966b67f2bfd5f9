// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Tidemark.Blocks;

namespace Tidemark.Nbd;

/// <summary>A range and the status bits that one meta context gives it.</summary>
public readonly record struct NbdStatusExtent(ByteRange Range, uint Flags);

/// <summary>What one meta context says: extents in order, without gap, from the start of the request on; maybe not to its end.</summary>
public sealed record NbdContextStatus(string Context, IReadOnlyList<NbdStatusExtent> Extents)
{
    /// <summary>First byte that nothing is said of.</summary>
    public long End => Extents[^1].Range.End;
}

/// <summary>Gathers the chunks of one BLOCK_STATUS reply, one for each negotiated context (spec, NBD_REPLY_TYPE_BLOCK_STATUS).</summary>
internal sealed class StatusCollector(IReadOnlyList<MetaContext> contexts, ByteRange request, NbdExport export, bool isOneExtent)
{
    private const int ExtentSize = 4 + 4;

    private readonly NbdContextStatus?[] _found = new NbdContextStatus?[contexts.Count];

    /// <summary>Takes the payload of a chunk: <c>context id u32 | (length u32 | flags u32)*</c>.</summary>
    /// <exception cref="NbdProtocolException">It says what cannot be.</exception>
    public void Add(ReadOnlySpan<byte> payload)
    {
        var id = BinaryPrimitives.ReadUInt32BigEndian(payload);
        var index = IndexOf(id);
        if (_found[index] is not null)
            throw new NbdProtocolException($"Server sent the status of context '{contexts[index].Name}' twice in one reply.");

        var pairs = payload[4..];
        if (isOneExtent && pairs.Length != ExtentSize)
            throw new NbdProtocolException($"Server sent {pairs.Length / ExtentSize} extents; one was asked for.");
        var extents = new List<NbdStatusExtent>(pairs.Length / ExtentSize);
        var offset = request.Offset;
        for (; pairs.Length > 0; pairs = pairs[ExtentSize..])
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(pairs);
            if (length == 0)
                throw new NbdProtocolException($"Server sent an empty extent at offset {offset}.");
            if (offset >= request.End)
                throw new NbdProtocolException($"Server sent an extent at offset {offset}; the request ends at {request.End}.");
            // The last extent may say more than was asked, unless just one was, but nothing beyond the export.
            var end = offset + length;
            if (end > export.Size || (isOneExtent && end > request.End))
                throw new NbdProtocolException(
                    $"Server sent an extent that ends at {end}; the request ends at {request.End}, the export at {export.Size}.");
            if (length % export.BlockSizes.Minimum != 0 && end != export.Size)
                throw new NbdProtocolException(
                    $"Server sent an extent of {length} bytes; its blocks have {export.BlockSizes.Minimum} bytes.");
            Append(extents, ByteRange.FromBounds(offset, Math.Min(end, request.End)), BinaryPrimitives.ReadUInt32BigEndian(pairs[4..]));
            offset = end;
        }

        _found[index] = new NbdContextStatus(contexts[index].Name, extents);
    }

    /// <summary>The whole answer, in the order of the negotiated contexts.</summary>
    /// <exception cref="NbdProtocolException">A context is missing.</exception>
    public IReadOnlyList<NbdContextStatus> Finish()
    {
        var answer = new NbdContextStatus[_found.Length];
        for (var i = 0; i < answer.Length; i++)
            answer[i] = _found[i] ?? throw new NbdProtocolException($"Server left context '{contexts[i].Name}' out of a status reply.");
        return answer;
    }

    private static void Append(List<NbdStatusExtent> extents, ByteRange range, uint flags)
    {
        if (extents.Count > 0 && extents[^1].Flags == flags)
            extents[^1] = new NbdStatusExtent(ByteRange.FromBounds(extents[^1].Range.Offset, range.End), flags);
        else
            extents.Add(new NbdStatusExtent(range, flags));
    }

    private int IndexOf(uint id)
    {
        for (var i = 0; i < contexts.Count; i++)
        {
            if (contexts[i].Id == id)
                return i;
        }

        throw new NbdProtocolException($"Server sent the status of context id {id}, which was not negotiated.");
    }
}
