// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>Something that can happen next, and the state after it.</summary>
internal readonly record struct ModelStep(string What, int Who, int Which, ModelState Next)
{
    public override string ToString() => What.Replace("{0}", $"{Who}", StringComparison.Ordinal)
        .Replace("{1}", Which < 0 ? "none" : $"{Which}", StringComparison.Ordinal)
        .Replace("{s}", Which < 0 ? "" : Set(Which), StringComparison.Ordinal);

    private static string Set(int bits) =>
        "{" + string.Join(',', Enumerable.Range(0, 8).Where(member => ModelState.Has(bits, member))) + "}";
}
