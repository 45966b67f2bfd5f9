// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Text;

namespace Tidemark.Nbd;

/// <summary>A meta context the server agreed to: the name, and the id that status replies carry.</summary>
internal readonly record struct MetaContext(uint Id, string Name);

/// <summary>NBD_OPT_STRUCTURED_REPLY, NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT; the last two need the first.</summary>
internal static class MetaContexts
{
    /// <summary>False when the server has no structured replies; anything built on them is then absent.</summary>
    public static async ValueTask<bool> AskForStructuredRepliesAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.StructuredReply, ReadOnlyMemory<byte>.Empty, cancellationToken);
        var reply = await channel.ReceiveAsync(NbdOption.StructuredReply, cancellationToken);
        if (IsAbsent(reply))
            return false;
        if (reply.Header.IsError)
            throw reply.ToRefusal("structured replies");
        reply.Expect(NbdOptionReply.Ack);
        return true;
    }

    /// <summary>Names the server has for the queries; none means all it has.</summary>
    public static async ValueTask<IReadOnlyList<string>> ListAsync(
        OptionChannel channel, string exportName, IReadOnlyList<string> queries, CancellationToken cancellationToken)
    {
        var found = await AskAsync(channel, NbdOption.ListMetaContext, exportName, queries, cancellationToken);
        return [.. found.Select(context => context.Name).Distinct(StringComparer.Ordinal)];
    }

    /// <summary>Agrees on contexts. Names that end in ':' or ':*' are replaced by what the server lists for them.</summary>
    public static async ValueTask<IReadOnlyList<MetaContext>> SetAsync(
        OptionChannel channel, string exportName, IReadOnlyList<string> names, CancellationToken cancellationToken)
    {
        var wildcards = names.Where(IsWildcard).Select(name => name.TrimEnd('*')).ToList();
        var wanted = names.Where(name => !IsWildcard(name)).ToList();
        if (wildcards.Count > 0)
            wanted.AddRange(await ListAsync(channel, exportName, wildcards, cancellationToken));
        wanted = [.. wanted.Distinct(StringComparer.Ordinal)];
        if (wanted.Count == 0)
            return [];
        var contexts = await AskAsync(channel, NbdOption.SetMetaContext, exportName, wanted, cancellationToken);
        if (contexts.Select(context => context.Id).Distinct().Count() != contexts.Count)
            throw new NbdProtocolException("Server gave two meta contexts the same id.");
        return contexts;
    }

    private static bool IsWildcard(string name) => name.EndsWith(':') || name.EndsWith(":*", StringComparison.Ordinal);

    // A server without the option says 'unsupported'; one that sees no use for it without TLS or an export says so at GO.
    private static bool IsAbsent(OptionReply reply) =>
        reply.Header.Reply is NbdOptionReply.ErrorUnsupported or NbdOptionReply.ErrorPolicy or NbdOptionReply.ErrorInvalid;

    private static async ValueTask<IReadOnlyList<MetaContext>> AskAsync(
        OptionChannel channel, NbdOption option, string exportName, IReadOnlyList<string> queries, CancellationToken cancellationToken)
    {
        await channel.SendAsync(option, Query(exportName, queries), cancellationToken);
        var contexts = new List<MetaContext>();
        var final = await channel.ReceiveAllAsync(option, Add, cancellationToken);
        if (final.Header.IsError && !IsAbsent(final))
            throw final.ToRefusal($"export '{exportName}'");
        return contexts;

        void Add(OptionReply reply)
        {
            reply.Expect(NbdOptionReply.MetaContext);
            reply.ExpectLength(4);
            if (contexts.Count == NbdLimits.MaxContexts)
                throw new NbdProtocolException($"Server named more than {NbdLimits.MaxContexts} meta contexts.");
            contexts.Add(new MetaContext(
                BinaryPrimitives.ReadUInt32BigEndian(reply.Data), OptionChannel.Text(reply.Data.AsSpan(4), "a meta context name")));
        }
    }

    // name length u32 | name | number of queries u32 | (length u32 | query)*
    private static byte[] Query(string exportName, IReadOnlyList<string> queries)
    {
        using var data = new MemoryStream();
        WriteText(data, exportName);
        WriteNumber(data, (uint)queries.Count);
        foreach (var query in queries)
            WriteText(data, query);
        return data.ToArray();
    }

    private static void WriteText(MemoryStream target, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        WriteNumber(target, (uint)bytes.Length);
        target.Write(bytes);
    }

    private static void WriteNumber(MemoryStream target, uint number)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, number);
        target.Write(bytes);
    }
}
